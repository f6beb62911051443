"""Health of the services that this node watches: checks, counts, history, and what the API tells of them."""
