"""P8: the proportional set size (PSS) of all Python processes of one node, idle, before and after its first mail.

PSS counts a page that several processes share once, divided among them (proc(5), smaps_rollup). Linux only.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from scripts.demo_gate import SAMPLE, GateFailed, Node, deliver_to_maildir, until

IDLE_SECONDS = 20
MCP_IDLE_SECONDS = 5


def run() -> str:
    """Measure a single Local node with the embedded defaults; returns a Markdown table in MiB."""
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        home = Path(folder)
        node = Node.make(
            "local", home, home / "none", {"VAULT_REMOTE_URL": "", "MCP_IDLE_SECONDS": str(MCP_IDLE_SECONDS)}
        )
        node.command("scripts.init_vault")
        node.start()
        try:
            time.sleep(IDLE_SECONDS)
            fresh = pss(node)
            send_one(node)
            warm = pss(node)
            time.sleep(MCP_IDLE_SECONDS + 2 * IDLE_SECONDS)
            used = pss(node)
        finally:
            node.stop()
    measured = (fresh, warm, used)
    rows = ["| process | idle | just after a mail was sent | idle again |", "|---|---|---|---|"]
    for name in sorted(fresh | warm | used):
        rows.append(f"| {name} | " + " | ".join(f"{sizes.get(name, 0):.1f}" for sizes in measured) + " |")
    totals = " | ".join(f"**{sum(sizes.values()):.1f}**" for sizes in measured)
    return "\n".join([*rows, f"| **all (MiB; goal: idle ≤ 200)** | {totals} |"])


def pss(node: Node) -> dict[str, float]:
    """MiB a process, over the node's whole process tree."""
    sizes: dict[str, float] = {}
    for top in node.processes:
        root = psutil.Process(top.pid)
        for process in [root, *root.children(recursive=True)]:
            words = process.cmdline()
            name = words[words.index("-m") + 1] if "-m" in words else " ".join(words[:2])
            sizes[name] = sizes.get(name, 0) + process.memory_full_info().pss / 2**20
    return sizes


def send_one(node: Node, mail: bytes = SAMPLE) -> None:
    """One mail through the node: in, drafted, approved, sent."""
    deliver_to_maildir(node, mail)
    item = until(lambda: node.get("approvals")["items"], "a draft", alive=node.check_alive)[0]
    node.post(f"approvals/{item['id']}/approve", {"sha256": node.get(f"approvals/{item['id']}")["sha256"]})
    wanted = item["id"]

    def done() -> bool | None:
        states = [entry["state"] for entry in node.get("actions")["items"] if entry.get("request") == wanted]
        if "failed" in states or "unknown" in states:
            raise GateFailed(f"the action is {states}")
        return "done" in states or None

    until(done, "the action is done", alive=node.check_alive)
