"""The gmail watcher as a real process: wakes, leaves when told, and survives kill -9 at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mail_kit import drop, files, make_mail
from tests.servers import dovecot, eventually
from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.daemon import Stop
from utils.settings import PROJECT_ROOT
from Watchers.gmail_watcher import GmailWatcher

MakeNode = Callable[..., Services]


def environment(node: Services, **more: str) -> dict[str, str]:
    s = node.settings
    return {
        **os.environ,
        "ENV_FILE": "",
        "AGENT_NAME": s.agent_name,
        "AGENT_MODE": s.agent_mode,
        "VAULT_PATH": str(s.vault_path),
        "STATE_DIR": str(s.state_dir),
        **more,
    }


@contextmanager
def watcher(node: Services, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "Watchers.gmail_watcher", *options],
        cwd=PROJECT_ROOT,
        env=environment(node, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def log_lines(node: Services) -> int:
    path = node.layout.claims_log
    return path.read_bytes().count(b"\n") if path.exists() else 0


def pending(node: Services) -> int:
    return len(list(node.layout.files(Stage.PENDING_APPROVAL)))


def test_one_cycle_says_what_it_did(make_node: MakeNode) -> None:
    node = make_node("local")
    drop(node, make_mail())
    with watcher(node, "--once") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "fetched 1, drafted 1" in output


def test_a_dropped_mail_is_drafted_and_sigterm_ends_it(make_node: MakeNode) -> None:
    node = make_node("local")
    with watcher(node, MAIL_POLL_SECONDS="3600") as process:  # only the drop can wake it
        eventually((node.settings.maildir / "cur").exists, what="the first cycle")
        drop(node, make_mail())
        eventually(lambda: pending(node) == 1, what="the request for approval")
        drop(node, make_mail(message_id="<2@example.com>"), "second.eml")
        eventually(lambda: pending(node) == 2, what="the second request")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_task_put_back_wakes_it(make_node: MakeNode) -> None:
    node = make_node("local")
    drop(node, make_mail(List_Id="<x.y>"))
    with watcher(node, MAIL_POLL_SECONDS="3600"):
        eventually(lambda: list(node.layout.files(Stage.DONE)), what="the task in Done")
        [path] = node.layout.files(Stage.DONE)
        path.rename(node.layout.folder(Stage.NEEDS_ACTION, domain="email") / path.name)
        eventually(lambda: pending(node) == 1, what="the draft that the human asked for")


@pytest.mark.slow
def test_kill_nine_at_any_line_of_the_log_makes_nothing_twice(make_node: MakeNode) -> None:
    node = make_node("local")
    mails = 4
    for number in range(mails):
        kind = {"List_Id": "<x.y>"} if number % 2 else {}
        drop(node, make_mail(message_id=f"<{number}@example.com>", **kind), f"{number}.eml")
    kills = 0
    while True:
        before = log_lines(node)
        with watcher(node, "--once") as process:
            eventually(lambda: log_lines(node) > before or process.poll() is not None)  # noqa: B023
            if process.poll() is None:
                process.kill()
                kills += 1
            elif log_lines(node) == before:
                break  # a whole cycle with nothing left to do
        assert kills < 200
    assert kills >= 4, "it was killed in the middle of its work"

    everywhere = [meta for stage in Stage for meta, _ in files(node, stage)]
    tasks = Counter(meta["source"]["message_id"] for meta in everywhere if "source_task" not in meta)
    assert tasks == {f"<{number}@example.com>": 1 for number in range(mails)}
    requests = Counter(meta["source"]["message_id"] for meta in everywhere if "source_task" in meta)
    assert requests == {"<0@example.com>": 1, "<2@example.com>": 1}
    assert len(list(node.layout.files(Stage.DONE))) == 2
    assert not list(Path(node.settings.maildir).glob("*.eml"))


def test_a_zone_that_becomes_active_while_the_watcher_looks_wakes_it(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look ("passive") and the wait lies a moment: what changes in it is not slept over."""
    node = make_node("local")
    node.zones.switch("cloud", reason="test", by="test")
    drop(node, make_mail())
    worker, stop = GmailWatcher(node), Stop()
    look = node.zones.runs_here

    def looks_and_then_it_changes(task_type: str) -> bool:
        seen = look(task_type)
        monkeypatch.undo()
        node.zones.switch("local", reason="test", by="test")
        return seen

    monkeypatch.setattr(node.zones, "runs_here", looks_and_then_it_changes)
    assert worker.run_cycle(node.clock.now()) == "active: local is the active zone"
    waits: list[float] = []
    monkeypatch.setattr(node.mailbox, "wait", lambda seconds, stopped: waits.append(0 if stopped() else seconds))
    worker.wait(3600, stop)
    assert waits == [0]
    worker.run_cycle(node.clock.now())
    worker.wait(3600, stop)
    assert (pending(node), waits) == (1, [0, 3600])


@pytest.mark.slow
def test_mail_by_imap_wakes_the_process_and_it_idles_in_little_memory(make_node: MakeNode) -> None:
    with dovecot() as server:
        node = make_node("local")
        more = {**server.environment(), "MAIL_POLL_SECONDS": "3600"}
        with watcher(node, **more) as process:
            eventually(server.connections, what="the login")
            server.deliver(make_mail())
            eventually(lambda: pending(node) == 1, what="the request for approval")
            rollup = Path(f"/proc/{process.pid}/smaps_rollup")
            if rollup.exists():
                kilobytes = next(
                    int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:")
                )
                assert kilobytes < 60 * 1024
            server.restart()
            server.deliver(make_mail(message_id="<2@example.com>"))
            eventually(lambda: pending(node) == 2, deadline=60, what="the request after a lost connection")
