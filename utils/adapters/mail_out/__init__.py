"""Where approved mail goes: one module a way of sending, each a `utils.ports.MailSender`."""
