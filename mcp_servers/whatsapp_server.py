"""WhatsApp as an MCP server on standard input and output: sends what a human approved."""

from __future__ import annotations

import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

from mcp_servers.acting import Desk, serve

_TOOLS = {
    "whatsapp_send": "Send the approved WhatsApp message of this action id.",
}


def build(desk: Desk) -> MCPServer[Any]:
    """The MCP server with its tools."""
    about = "Sends WhatsApp messages that a human approved, by their action id. It can't write or address one."
    return desk.server("whatsapp", about, _TOOLS)


if __name__ == "__main__":
    sys.exit(serve("whatsapp_server", build, "sends approved WhatsApp messages by action id."))
