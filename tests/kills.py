"""Real kill -9, by strace, of the approval watcher, the MCP client below it and the e-mail server below that.

An approved reply waits; the watcher runs one cycle (`--once`) and sends it to a real SMTP server on loopback. `Office`
plays a `Kill` before one system call of one of the three, and whatever recovers from it, perhaps killed once more.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.servers import SmtpServer, eventually, smtp_server
from tests.strace import ACTING, Call, calls, require_strace
from utils.adapters.clock import SystemClock
from utils.bootstrap import Services
from utils.execution.journal import ActionRecord, State
from utils.execution.store import ExecutionStore
from utils.settings import PROJECT_ROOT, load

ROLES = ("watcher", "client", "server")


@dataclass(frozen=True)
class Kill:
    """Before this call of a thread of `role`; `everybody`: the others right after it."""

    role: str
    call: Call
    everybody: bool = False
    then: Kill | None = None  # in the run that recovers

    def __str__(self) -> str:
        words = f"the {self.role} at {self.call.name} {self.call.when}{', with everybody' if self.everybody else ''}"
        return f"{words}; then {self.then}" if self.then else words


class Office:
    """A Local node with one approved reply, put back to that for each kill."""

    def __init__(self, home: Path, smtp: SmtpServer) -> None:
        self.home = home
        self.smtp = smtp
        self.ends: Counter[str] = Counter()
        self.killed = 0
        self._settings = {
            "ENV_FILE": "", "AGENT_NAME": "local", "AGENT_MODE": "full", "UNDO_SECONDS": "0",
            "VAULT_PATH": str(home / "node/vault"), "STATE_DIR": str(home / "node/state"), **smtp.environment(),
        }  # fmt: skip
        clock = FakeClock()
        clock._now = SystemClock().now()
        desk = Desk(self._make, clock, World(), set_up=True)
        path = desk.request(task=False)
        self.record = desk.approvals.approve(path.stem, sha(path), by="tester")
        desk.node.close()
        self.vault = desk.vault
        (home / "node").rename(home / "approved")
        (home / "pids").mkdir()
        self._write_wrapper()

    def points(self) -> list[Kill]:
        """Every place to kill at in one run that nobody disturbs."""
        self.put_back()
        assert self.run(TRACE_ALL="1") == 0
        self._wait_for_the_end()
        found = []
        for role in ROLES:
            trace = self.home / f"trace.{role}"
            if trace.exists():
                found += [Kill(role, call) for call in calls(trace)]
                trace.unlink()
        return found

    def put_back(self) -> None:
        """As it was when the human had approved."""
        shutil.rmtree(self.home / "node", ignore_errors=True)
        shutil.copytree(self.home / "approved", self.home / "node", symlinks=True)
        (self.home / "node/state/execution.json").unlink()  # a copied mark would tell of a restore
        self.smtp.ledger.clear()

    def run(self, kill: Kill | None = None, **environ: str) -> int:
        """One cycle of the watcher; its exit code. Below one that is killed the others go on for a while."""
        if kill is not None:
            environ |= {"KILL_ROLE": kill.role, "KILL_AT": kill.call.injection}
            environ |= {"KILL_EVERYBODY": "1"} if kill.everybody else {}
        for path in (self.home / "pids").glob("*.pid"):
            path.unlink()
        program = (
            f"import sys; sys.executable = {str(self.home / 'python')!r}; sys.argv = ['approval_watcher', '--once'];"
            "from Watchers.approval_watcher import main; sys.exit(main())"
        )
        with (self.home / "log").open("wb") as log:
            done = subprocess.run(
                [self.home / "python", "-c", program], cwd=PROJECT_ROOT, env=os.environ | self._settings | environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=120,
            )  # fmt: skip
        killed = self.home / "pids/killed"
        self.killed += killed.exists()
        killed.unlink(missing_ok=True)
        return done.returncode

    def play(self, kill: Kill) -> State:
        """Kill, recover, judge; how it ended. Raises `AssertionError`."""
        self.put_back()
        self.run(kill)
        if kill.then is not None:
            self._make_due()
            self.run(kill.then)
        for _ in range(20):
            self.run()
            record = self._look()
            if record.state in (State.DONE, State.UNKNOWN, State.FAILED) and record.filed:
                break
            assert record.state is not State.APPROVED or not self.smtp.ledger, f"{kill}: sent, and to be sent again"
            self._make_due()
        self._wait_for_the_end()
        self._judge(kill, self._look())
        self.ends[record.state.value] += 1
        return record.state

    def _judge(self, kill: Kill, record: ActionRecord) -> None:
        said = (self.home / "log").read_text(errors="replace")[-2000:]
        mails, state = len(self.smtp.ledger), record.state
        assert mails <= 1, f"{kill}: {mails} mails"
        assert state in (State.DONE, State.UNKNOWN) and record.filed, f"{kill}: {state} with {mails} mails\n{said}"
        assert all(record.action_id.encode() in mail.data for mail in self.smtp.ledger), kill
        name = record.request_id
        places = sorted(path.parent.name for path in self.vault.rglob(f"{name}.md"))
        lines = [line for path in self.vault.glob("Logs/actions/*") for line in path.read_text().splitlines()]
        assert sum(f'"{state}"' in line and record.action_id in line for line in lines) == 1, f"{kill}: {lines}"
        if state is State.DONE:
            assert mails == 1 and record.receipt is not None and places == ["Done"], f"{kill}: done, {mails}, {places}"
        else:
            assert places == ["Approved"], f"{kill}: {places}"
            assert record.action_id in (self.vault / f"Approved/{name}.reason.md").read_text(), kill
            alerts = "".join(path.read_text() for path in self.vault.glob("Logs/alerts/*"))
            assert "CRITICAL" in alerts and name in alerts, f"{kill}: unknown, and nobody is told"

    def _look(self) -> ActionRecord:
        store = ExecutionStore(self.home / "node/state/execution.sqlite3", SystemClock())
        try:
            found = store.get(self.record.action_id)
        finally:
            store.close()
        assert found is not None
        return found

    def _make_due(self) -> None:
        """Time goes by: what waits to be tried again is due."""
        with sqlite3.connect(self.home / "node/state/execution.sqlite3") as database:
            database.execute("UPDATE actions SET next_try_at = NULL WHERE state = 'approved'")
        database.close()

    def _wait_for_the_end(self) -> None:
        """Of whatever was started."""
        started = self.home / "pids/all"
        pids = [int(pid) for pid in started.read_text().split()]
        eventually(lambda: not any(_is_alive(pid) for pid in pids), what="the end of the processes")
        started.unlink()

    def _make(self, name: str, *, ready: bool = True, clock: Any = None, **more: str) -> Services:
        services = Services(load(self._settings | more))
        services.clock = clock
        return services

    def _write_wrapper(self) -> None:
        """A `python` in front of the real one: says who it is, and has itself traced, or killed."""
        python, strace, home = (shlex.quote(str(one)) for one in (sys.executable, require_strace(), self.home))
        wrapper = self.home / "python"
        wrapper.write_text(
            f"""#!/bin/sh
case "$*" in
    *email_server*) role=server ;;
    *mcp_client*) role=client ;;
    *) role=watcher ;;
esac
echo $$ > {home}/pids/$role.pid
echo $$ >> {home}/pids/all
quiet="-qq -e signal=none" # of the watcher and the client the main thread alone: what they start is not theirs
[ $role != server ] || quiet="$quiet -f"
if [ -n "$TRACE_ALL" ]; then
    {strace} $quiet -o {home}/trace.$role -e trace='{ACTING}' {python} "$@"
elif [ "$role" = "$KILL_ROLE" ]; then
    {strace} $quiet -o /dev/null -e trace='{ACTING}' -e "$KILL_AT" {python} "$@"
    code=$?
    if [ $code = 137 ]; then
        touch {home}/pids/killed
        [ -z "$KILL_EVERYBODY" ] || for one in watcher client server; do
            [ $one = $role ] || kill -9 "$(cat {home}/pids/$one.pid)" 2>/dev/null
        done
    fi
    exit $code
else
    exec {python} "$@"
fi
"""
        )
        wrapper.chmod(0o755)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def office() -> Iterator[Office]:
    """An office with an SMTP server of its own, in a folder in memory where there is one."""
    fast = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="kills-", dir=fast if fast.is_dir() else None)).resolve()
    try:
        with smtp_server(security="none", auth=False) as smtp:
            yield Office(home, smtp)
    finally:
        started = home / "pids/all"
        for pid in started.read_text().split() if started.exists() else ():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(home, ignore_errors=True)


def first_kills(points: Sequence[Kill]) -> list[Kill]:
    """Each point with the others living on, and each of the server's with everybody dying too."""
    return [*points, *(replace(point, everybody=True) for point in points if point.role == "server")]


def numbered(points: Sequence[Kill], number: int) -> Kill:
    """Every first kill in turn, then random ones with a second kill in the run that recovers."""
    single = first_kills(points)
    if number < len(single):
        return single[number]
    dice = random.Random(number)
    return replace(dice.choice(single), then=dice.choice([point for point in points if point.role == "watcher"]))
