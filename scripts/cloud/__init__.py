"""The cloud node on a server of its own: `deploy.sh`, and what of it is decided in Python."""
