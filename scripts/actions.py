"""What is approved, what became of it, and the brakes: `python -m scripts.actions`.

`list` (the default) shows what is approved and waits, and why; outcomes that only you can settle, with the evidence;
and what failed lately. `settle` says what you found out, `cancel` takes an approval back, `stop` and `go` are the kill
switch of this node. `log` shows what was done; `verify` checks that nobody changed the log (docs/actions.md). An action
is named by its id or that of its request, or by the beginning or the end of either. Local acts and settles; a
draft-only node lists what Local told it.

exit codes: 0 done; 1 refused, or the log is not whole; 2 wrong usage or bad settings
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import Any

from utils.bootstrap import Services
from utils.core import expiry, visible
from utils.core.action_chain import KEYS, Verdict
from utils.core.commands import command, elsewhere
from utils.core.routing import LOCAL
from utils.daemon import readers_may_leave, tell_problems
from utils.execution.answers import ApprovalError, NotFound, NotHere
from utils.execution.journal import ActionRecord, State
from utils.execution.schema import StoreProblem
from utils.settings import InvalidSettings

BY = "human (command line)"
_LATELY = timedelta(days=7)
_OPEN = (State.UNKNOWN, State.SENDING, State.APPROVED)
_YES = ("y", "yes")
_SHORTEST = 6  # characters of an id that name an action


class Refused(Exception):
    """What was asked for is not done; the text says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit codes are those that `--help` tells."""
    options = arguments().parse_args(argv)
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        tell_problems("actions", error.problems)
        if options.command == "stop":
            print("not stopped! Make a file called STOP in STATE_DIR: that stops this node too", file=sys.stderr)
        return 2
    try:
        code = 0
        with readers_may_leave():
            code = _do(services, options)
            sys.stdout.flush()
        return code
    except NotHere:
        return _failed(options, _elsewhere(services, options))
    except (ApprovalError, Refused, StoreProblem) as error:
        return _failed(options, str(error))
    except EOFError:
        return _failed(options, "there is no answer to read: nothing was done")
    except OSError as error:
        return _failed(options, f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    finally:
        services.close()


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.actions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    parser.add_argument("--json", action="store_true", help="the list as one JSON object")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="list", json=False)

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[shared], help=help_text, description=help_text)

    def one(name: str, help_text: str) -> argparse.ArgumentParser:
        found = add(name, help_text)
        about = "the action's id or its request's, or the beginning or end"
        found.add_argument("action", metavar="ID", type=_text(200), help=about)
        return found

    add("list", "what waits and why, outcomes to settle with their evidence, what failed lately (the default)")
    one("view", "one action: what exactly was approved, by whom, and its history")
    settle = one("settle", "say what you found out about an action whose outcome is unknown")
    settle.add_argument("outcome", choices=("happened", "ask_again"), help="it happened; or it did not: ask me again")
    settle.add_argument("--note", metavar="TEXT", default="", type=_text(2_000), help="how you know, for the log")
    one("cancel", "take an approval back before it is carried out: the request asks again")
    stop = add("stop", "the kill switch: nothing new is carried out on this node until `go`")
    stop.add_argument(
        "reason", metavar="REASON", nargs="?", default="", type=_text(500), help="why, for whoever finds it"
    )
    add("go", "release the kill switch: what is approved goes on")
    log = add("log", "what was done, line by line, newest last; --json: the lines themselves")
    log.add_argument("--limit", type=int, default=20, metavar="N", help="the newest N (default 20)")
    add("verify", "check the log's chain; says the first line that is broken, missing or foreign (exit 1)")
    accept = add("accept", "after you have looked at what `verify` says: shows it, asks, and tells it no longer")
    accept.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _text(longest: int) -> Any:
    def text(value: str) -> str:
        if not visible.is_text(value):
            raise argparse.ArgumentTypeError("it is not UTF-8")
        if len(value) > longest:
            raise argparse.ArgumentTypeError(f"at most {longest} characters")
        return value

    return text


def _do(services: Services, options: argparse.Namespace) -> int:
    if options.command in ("settle", "cancel") and services.settings.draft_only:
        raise NotHere
    return {
        "list": _list,
        "view": _view,
        "settle": _settle,
        "cancel": _cancel,
        "stop": _stop,
        "go": _go,
        "log": _log,
        "verify": _verify,
        "accept": _accept,
    }[options.command](services, options)


def _failed(options: argparse.Namespace, reason: str) -> int:
    if options.json:
        print(json.dumps({"error": reason}, ensure_ascii=False))
    else:
        print(f"error: {visible.plain(reason)}", file=sys.stderr)
    return 1


def _say(options: argparse.Namespace, facts: Mapping[str, Any], *lines: str) -> int:
    print(json.dumps(facts, ensure_ascii=False, indent=1) if options.json else "\n".join(lines))
    return 0


def _elsewhere(services: Services, options: argparse.Namespace) -> str:
    return (
        f"this node ({services.settings.agent_name}) is draft-only: it carries nothing out, so there is nothing to"
        f" {options.command} here. Do it on the Local node: `{elsewhere(f'actions {options.command} …')}` there, or"
        " its API"
    )


# Looking


def _list(services: Services, options: argparse.Namespace) -> int:
    stopped = services.brakes.stopped()
    items = list(_told(services) if services.settings.draft_only else _known(services))
    lines = [_stopped_line(stopped)] if stopped is not None else []
    for item in items:
        lines += _lines(item)
    counts = ", ".join(f"{n} {state}" for state in State if (n := sum(item["state"] == state for item in items)))
    where = " (as Local told this draft-only node)" if services.settings.draft_only else ""
    return _say(options, {"stopped": stopped, "items": items}, *lines, f"{counts or 'nothing is open'}{where}")


def _stopped_line(reason: str) -> str:
    said = f": {visible.plain(reason)}" if reason else ""
    return f"EVERYTHING IS STOPPED on this node{said}. To go on: {command('actions go')}"


def _known(services: Services) -> Iterator[dict[str, Any]]:
    """From the journal: what is to be settled, under way, held back; then what failed and was not approved anew."""
    for state in _OPEN:
        for record in services.store.in_state(state):
            yield _facts(services, record)
    for record in services.store.finished_since(services.clock.now() - _LATELY, State.FAILED):
        newest = services.store.newest(record.request_id)
        if newest is not None and newest.action_id == record.action_id:
            yield _facts(services, record)


def _told(services: Services) -> Iterator[dict[str, Any]]:
    """From the log that a sync brought: actions whose newest line says that they are to be settled, or failed."""
    newest = {entry["action_id"]: entry for entry in _entries(services)}
    yield from (entry for entry in newest.values() if entry.get("state") in (State.UNKNOWN, State.FAILED))


def _entries(services: Services) -> Iterator[dict[str, Any]]:
    for line in services.action_log.lines():
        if line.entry is not None and isinstance(line.entry.get("action_id"), str):
            yield {name: value for name, value in line.entry.items() if name not in KEYS}


def _facts(services: Services, record: ActionRecord) -> dict[str, Any]:
    """A record as JSON values; of one that is approved also why it waits, and for how long it can safely be taken
    back."""
    facts = record.to_dict()
    if record.state is State.APPROVED:
        held = services.executor.held(record)
        left = ceil((held.until - services.clock.now()).total_seconds()) if held and held.until else None
        facts["waits"] = {"reason": held.reason, "seconds_left": left} if held else None
        facts["undo_seconds_left"] = services.brakes.undo_seconds(record)
    return facts


def _lines(item: Mapping[str, Any]) -> list[str]:
    head = f"{item['action_id']}  {item.get('state')}  {item.get('action')}  {item.get('request')}"
    lines = [visible.plain(f"{head}  {item.get('at')}")]
    error = visible.plain(str(item.get("error") or ""))
    match item.get("state"):
        case State.UNKNOWN:
            settle = elsewhere(f"actions settle {str(item['action_id'])[:8]}")
            lines += [
                f"  ! nobody knows whether it happened: {error}",
                f"    our reference there: {visible.plain(str(item.get('reference') or '(none)'))}",
                f"    look for yourself, then on Local: {visible.plain(settle)} happened (or ask_again)",
            ]
        case State.APPROVED:
            lines += _waits(item)
        case State.SENDING:
            lines.append("  is being carried out")
        case State.FAILED:
            lines.append(f"  ! failed: {error}")
        case State.DONE:
            lines.append(f"  {visible.plain(_outcome(item))}")
        case _:
            lines += [f"  {error}"] if error else []
    return lines


def _waits(item: Mapping[str, Any]) -> list[str]:
    waits, undo = item.get("waits"), item.get("undo_seconds_left")
    if waits:
        left = waits["seconds_left"]
        span = f", {expiry.in_words(max(0, left))} left" if left is not None else ""
        lines = [f"  waits: {visible.plain(waits['reason'])}{span}"]
    else:
        lines = ["  is carried out next"]
    how_long = f"{undo} s left to take it back" if undo else "to take it back, before it is carried out"
    cancel = command(f"actions cancel {item['action_id'][:8]}")
    return [*lines, f"  {how_long}: {cancel}"]


def _view(services: Services, options: argparse.Namespace) -> int:
    if services.settings.draft_only:
        found = {entry["action_id"]: entry for entry in _entries(services) if _is_named(options.action, entry)}
        item = found[_only(options.action, list(found))]
        return _say(options, item, *_lines(item), *_properties(item))
    record = _find(services, options.action)
    item, events = _facts(services, record), services.store.events(record.action_id)
    content = record.frozen.decode("utf-8", "replace")
    history = [visible.plain(f"  {event['at']}  {event['event']}  {event['detail']}".rstrip()) for event in events]
    approved = [f"| {line}" for line in visible.plain(content, keep="\n").split("\n")]
    lines = [*_lines(item), "", *_properties(item), "", *history, "", "what was approved:", *approved]
    return _say(options, item | {"events": events, "content": content}, *lines)


def _properties(item: Mapping[str, Any]) -> list[str]:
    names = ("approver", "via", "approved_at", "expires_at", "attempts", "reference", "sha256", "source_task")
    return [visible.plain(f"{name}: {item.get(name)}") for name in names if item.get(name) is not None]


def _find(services: Services, named: str, *wanted: State) -> ActionRecord:
    """The action that is so named. Where several are, e.g. a request's that was approved twice, those in a `wanted`
    state count alone, else its newest. Raises `NotFound`, `Refused`."""
    named = named.strip().rpartition("/")[2].removesuffix(".md")
    found = services.store.named(named) if len(named) >= _SHORTEST else []
    of_use = [record for record in found if record.state in wanted] or found
    newest = {record.request_id: record for record in of_use}
    by_id = {record.action_id: record for record in newest.values()}
    return by_id[_only(named, list(by_id))]


def _is_named(named: str, item: Mapping[str, Any]) -> bool:
    names = (str(item.get("action_id")), str(item.get("request")))
    return len(named) >= _SHORTEST and any(name.startswith(named) or name.endswith(named) for name in names)


def _only(named: str, found: list[str]) -> str:
    if not found:
        short = f" (at least {_SHORTEST} characters name one)" if len(named) < _SHORTEST else ""
        raise NotFound(f"there is no action {named}{short}; `{command('actions')}` lists those that are open")
    if len(found) > 1:
        raise Refused(f"{named} may be any of {', '.join(sorted(found)[:5])}{' …' if len(found) > 5 else ''}")
    return found[0]


# Answering


def _settle(services: Services, options: argparse.Namespace) -> int:
    record = _find(services, options.action, State.UNKNOWN)
    settled = services.executor.settle(record.action_id, options.outcome, by=BY, note=options.note)
    became = "is done" if settled.state is State.DONE else "did not happen: the request asks again"
    return _say(options, settled.to_dict(), f"{settled.action} of {settled.request_id} {became}")


def _cancel(services: Services, options: argparse.Namespace) -> int:
    record = _find(services, options.action, State.APPROVED)
    cancelled = services.executor.cancel(record.action_id, by=BY)
    return _say(
        options, cancelled.to_dict(), f"{cancelled.request_id} is not carried out: it waits for your word again"
    )


def _stop(services: Services, options: argparse.Namespace) -> int:
    was_stopped = services.brakes.stopped() is not None
    reason = options.reason or f"by {BY}"
    if options.reason or not was_stopped:
        services.brakes.stop(reason)
    if not was_stopped:
        services.alerts.send("WARNING", "Everything is stopped", reason, source="actions")
    said = services.brakes.stopped() or reason
    return _say(options, {"stopped": said}, _stopped_line(said))


def _go(services: Services, options: argparse.Namespace) -> int:
    released = services.brakes.go()
    if released:
        services.alerts.send("INFO", "The kill switch is released", f"by {BY}", source="actions")
    return _say(
        options,
        {"stopped": None, "released": released},
        "released: what is approved goes on" if released else "the kill switch was not pulled",
    )


# The log


def _log(services: Services, options: argparse.Namespace) -> int:
    lines = services.action_log.lines()
    for line in lines[-options.limit :] if options.limit > 0 else []:
        if options.json:
            print(line.data.decode("utf-8", "replace"))
        else:
            print(visible.plain(_row(line.entry) if line.entry is not None else f"(can't be read: {line.where})"))
    return 0


def _row(entry: Mapping[str, Any]) -> str:
    number = f"{entry.get('writer')} {entry.get('seq')}" if "seq" in entry else "-"
    words = (entry.get(key) for key in ("at", "state", "action", "request", "approver"))
    return "  ".join([*(str(word) for word in words), number, _outcome(entry)]).rstrip()


def _outcome(entry: Mapping[str, Any]) -> str:
    receipt = entry.get("receipt")
    return str((receipt.get("id") if isinstance(receipt, dict) else entry.get("error")) or "")


def _verify(services: Services, options: argparse.Namespace) -> int:
    verdict = services.action_log.verify()
    facts = {
        "problems": [problem.words for problem in verdict.problems],
        "accepted": [problem.words for problem in verdict.accepted],
        "lines": verdict.counts,
    }
    _say(options, facts, said(verdict, is_writer=services.settings.agent_name == LOCAL))
    return 1 if verdict.problems else 0


def _accept(services: Services, options: argparse.Namespace) -> int:
    found = services.action_log.verify().problems
    if found and not options.yes:
        if options.json or not sys.stdin.isatty():
            raise Refused("there is nobody to ask: look at what `verify` says, then give --yes")
        print(*(visible.escape(problem.words) for problem in found), sep="\n")
        if input("You have looked into this, and it is to be told no longer? [y/N] ").strip().lower() not in _YES:
            raise Refused("nothing was accepted")
    words = [problem.words for problem in services.action_log.accept(found)]
    lines = [f"accepted: {visible.escape(text)}" for text in words]
    return _say(options, {"accepted": words}, *(lines or ["there was nothing to accept"]))


def said(verdict: Verdict, *, is_writer: bool) -> str:
    """A verdict in a line. `is_writer`: this node is the one that acts, so it knows where the chain ends."""
    if verdict.problems:
        more = len(verdict.problems) - 1
        first = visible.escape(verdict.problems[0].words)
        return f"{first}{f' (and {more} more)' if more else ''}"
    counts = [f"{count} line(s) of {writer}" for writer, count in verdict.counts.items()]
    before = [f"{verdict.before} from before there was a chain"] if verdict.before else []
    nothing = "it has no line" if verdict.accepted else "nothing was done yet"
    text = f"the action log is whole: {', '.join([*counts, *before]) or nothing}"
    if verdict.accepted:
        first, more = visible.escape(verdict.accepted[0].words), len(verdict.accepted) - 1
        text += f"; but for what was accepted: {first}{f' (and {more} more)' if more else ''}"
    return text if is_writer else f"{text}; whether lines are missing at its end only Local knows"


if __name__ == "__main__":
    sys.exit(main())
