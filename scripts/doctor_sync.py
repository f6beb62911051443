"""The doctor's look at the vault's sync: whether it goes on, and if it stands still, why and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from utils.bootstrap import Services
from utils.core import visible
from utils.core.commands import command
from utils.core.task import parse_time
from utils.sync import kept

#: A verdict, and what was seen with its remedy.
Seen = tuple[str, str]

_INTERVAL = timedelta(minutes=5)  # of the scheduler's job
_LONG = 4 * _INTERVAL
_HANGS = timedelta(minutes=15)


def explain(services: Services, *, ok: str, note: str, broken: str) -> Iterator[Seen]:
    """What there is to say about the sync, the cause before what follows from it. Asks nobody but this machine."""
    sync, now = services.sync, services.clock.now()
    status, story = sync.status(), sync.story()
    runs = _next_run(services.settings.state_dir, now)
    if story.disk:
        yield broken, story.disk
    if story.holder is not None and story.held_since is not None:
        yield _running(story.holder, story.held_since, now, ok=ok, broken=broken)
    last, success = status["last_sync"], _time(status["last_success_at"])
    if last is None:
        yield (note if status["state"] == "never" else broken), f"never synced: {_start(runs)}"
        return
    failing = last["error"] if last["result"] in ("offline", "error") else None
    age = now - success if success else None
    late = age is None or age > _LONG
    if failing:
        verdict = broken if last["result"] == "error" or late else note
        yield verdict, f"{_since(last['result'], story.failing_since)}: {failing}"
    if age is None:
        yield broken, "no sync has ever succeeded"
    elif late:
        yield broken, f"the last sync that succeeded was {_ago(age)} ago"
    if runs is None and status["remote"]:
        yield (broken if late else note), f"nothing syncs by itself, the scheduler does not run: {_start(None)}"
    yield from _waiting(status, note)
    yield from _to_look_at(services, last, note)
    if age is not None and not failing and not late:
        yield ok, f"synced {_ago(age)} ago" + (f", next {runs:%H:%M} UTC" if runs else "")


def _next_run(state_dir: Path, now: datetime) -> datetime | None:
    """When the scheduler syncs next, as it wrote down; None where it does not run, or what it wrote is past."""
    try:
        jobs = json.loads((state_dir / "scheduler.json").read_bytes())["jobs"]
        at = _time(jobs["vault_sync"]["next_run_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return at if at and at >= now else None


def _running(holder: str, since: datetime, now: datetime, *, ok: str, broken: str) -> Seen:
    """A lock that is held is held by a process that lives: the kernel frees it at a death."""
    number = holder.removeprefix("pid ").strip()
    try:
        words = Path(f"/proc/{int(number)}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (OSError, ValueError):
        words = "a process that this user can't look at"
    text = f"a sync runs since {_ago(now - since)} ({holder or 'pid unknown'}: {words.strip()[:120]})"
    if now - since > _HANGS:
        return broken, f"{text}: if it hangs, end it with `kill {number}`; the next sync goes on where it stopped"
    return ok, text


def _waiting(status: dict[str, Any], note: str) -> Iterator[Seen]:
    ahead, behind = status["ahead"], status["behind"]
    if ahead and status["remote"]:
        yield note, f"{ahead} commit(s) wait here for the remote"
    if behind:
        when = "once it no longer stands still" if status["state"] == "error" else "at the next sync"
        yield note, f"{behind} commit(s) of the remote are here and not in the vault yet: they come in {when}"


def _to_look_at(services: Services, last: dict[str, Any], note: str) -> Iterator[Seen]:
    """What does not travel, and what lost a merge and was kept."""
    if refused := last["refused"]:
        first = visible.escape(refused[0]["path"]).replace("\n", "⟦U+000A⟧")
        why = f"{first}: {refused[0]['reason']}"
        yield note, f"{len(refused)} file(s) did not travel ({why}); `{command('sync')}` names all"
    if copies := sum(1 for _ in kept.copies(services.layout)):
        yield (
            note,
            f"{copies} version(s) that yielded lie under Updates/conflicts/: keep what you want of them",
        )


def _start(runs: datetime | None) -> str:
    return f"the scheduler does it at {runs:%H:%M} UTC" if runs else f"./start_everything.sh, or {command('sync')}"


def _since(result: str, stamp: str | None) -> str:
    word = "offline" if result == "offline" else "stands still"
    return f"{word} since {stamp}" if stamp else word


def _time(stamp: str | None) -> datetime | None:
    return parse_time(stamp) if stamp else None


def _ago(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 2:
        return f"{max(0, int(span.total_seconds()))} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
