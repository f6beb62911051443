"""Keeping the zone lease: look at the remote, decide (`utils.core.lease`), carry it out, remember."""
