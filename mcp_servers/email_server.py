"""E-mail as an MCP server on standard input and output: sends what a human approved."""

from __future__ import annotations

import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

from mcp_servers.acting import Desk, serve

_TOOLS = {
    "send_email": "Send the approved e-mail of this action id.",
    "reply_email": "Send the approved reply of this action id, in its thread.",
    "forward_email": "Send the approved forward of a mail, with the quoted original as it was approved.",
}


def build(desk: Desk) -> MCPServer[Any]:
    """The MCP server with its tools."""
    about = "Sends e-mails that a human approved, by their action id. It can't compose or address mail."
    return desk.server("email", about, _TOOLS)


if __name__ == "__main__":
    sys.exit(serve("email_server", build, "sends approved e-mails by action id."))
