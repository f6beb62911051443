"""Mail in: from the bytes of a mail to a task, a plan and a request for approval."""
