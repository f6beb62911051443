"""Posts on social networks as an MCP server on standard input and output: publishes what a human approved."""

from __future__ import annotations

import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

from mcp_servers.acting import Desk, serve

_TOOLS = {
    "linkedin_post": "Publish the approved post of this action id on LinkedIn.",
    "facebook_post": "Publish the approved post of this action id on the Facebook Page.",
    "instagram_post": "Publish the approved image of this action id on Instagram.",
    "twitter_post": "Publish the approved post of this action id on X.",
}


def build(desk: Desk) -> MCPServer[Any]:
    """The MCP server with its tools."""
    about = "Publishes posts that a human approved, by their action id. It can't write or change one."
    return desk.server("social", about, _TOOLS)


if __name__ == "__main__":
    sys.exit(serve("social_server", build, "publishes approved posts by action id."))
