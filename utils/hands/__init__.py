"""The hands: one module a kind of action, each a `utils.ports.Hand`. How they are used says `mcp_servers/acting.py`."""
