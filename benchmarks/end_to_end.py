"""How long a mail takes with the embedded defaults: Maildir → draft, and approval → outbox. Informative; P6 and P7 are
measured against real servers by later benchmarks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from scripts.demo_gate import SAMPLE, Node, deliver_to_maildir, until

MAILS = 10


def run() -> str:
    """Medians over ten mails, in milliseconds, of a node of real processes."""
    drafted, sent = [], []
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        home = Path(folder)
        node = Node.make("local", home, home / "none", {"VAULT_REMOTE_URL": "", "UNDO_SECONDS": "0"})
        node.command("scripts.init_vault")
        node.start()
        try:
            outbox = node.state / "mail" / "out"
            for number in range(MAILS):
                started = time.perf_counter()
                deliver_to_maildir(node, SAMPLE.replace(b"offer-1@", b"offer-%d@" % number))
                item = until(lambda: node.get("approvals")["items"], "a draft", alive=node.check_alive)[0]
                drafted.append((time.perf_counter() - started) * 1000)
                shown = node.get(f"approvals/{item['id']}")
                started = time.perf_counter()
                node.post(f"approvals/{item['id']}/approve", {"sha256": shown["sha256"]})
                until(
                    lambda wanted=number: len(list(outbox.glob("*.eml"))) > wanted or None,
                    "the mail in the outbox",
                    alive=node.check_alive,
                )
                sent.append((time.perf_counter() - started) * 1000)
        finally:
            node.stop()
    rows = ["| what | median (ms) | slowest (ms) |", "|---|---|---|"]
    rows.append(f"| mail in the Maildir → draft at the API | {statistics.median(drafted):.0f} | {max(drafted):.0f} |")
    rows.append(
        f"| approval → outbox (the first starts the server) | {statistics.median(sent):.0f} | {max(sent):.0f} |"
    )
    return "\n".join([*rows, "", "The waits poll every 100 ms, so each figure may be that much too large."])
