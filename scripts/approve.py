"""What waits for your word, and your answers: `python -m scripts.approve`.

`list` (the default) shows what waits, for how long it can still be approved, and the risks. `view` shows exactly what
will be sent. The five answers: `approve`, `edit` (then look and approve), `revise` (a new draft with an instruction),
`reject`, `snooze`. A request is named by its id, or by the end of it. Answers are given on the Local node.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scripts import editing
from scripts.editing import Refused, Sheet
from utils.bootstrap import Services
from utils.core import expiry, visible
from utils.core.badges import Severity
from utils.core.commands import command, elsewhere
from utils.core.decision import LONGEST
from utils.core.headline import headline
from utils.core.policy import recipients
from utils.core.task import ApprovalRequest, bare_id, format_time, parse_moment, parse_time
from utils.daemon import readers_may_leave, tell_problems
from utils.execution.answer_log import Answer
from utils.execution.answers import ApprovalError, BadEdit, Invalid, NotFound, NotHere, Pending
from utils.execution.brakes import stands_still
from utils.execution.schema import StoreProblem
from utils.settings import InvalidSettings
from utils.vault.skeleton import VaultProblem

BY, VIA = "human (command line)", "cli"
_SPAN = re.compile(r"(\d{1,5})\s*(m|min|h|d)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_SIGNS = {Severity.DANGER: "!!", Severity.WARNING: "!", Severity.INFO: "·"}
MOST_REMOVED = 10  # are listed


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m scripts.approve", description=f"{summary}\n\n{rest}")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="list", show="waiting", json=False)
    parser.add_argument("--json", action="store_true", help="the list as one JSON object")

    listing = commands.add_parser("list", parents=[shared], help="what waits: age, risk, time left (the default)")
    listing.add_argument("--show", choices=("waiting", "snoozed", "superseded", "all"), default="waiting")

    def one(name: str, help_text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, parents=[shared], help=help_text, description=help_text)
        found.add_argument("request", metavar="ID", type=_words, help="the request's id, or the end of it")
        return found

    def bound(name: str, help_text: str) -> argparse.ArgumentParser:
        found = one(name, help_text)
        found.add_argument("--sha256", metavar="HEX", type=_digest, help="only if these bytes lie there still")
        return found

    one("view", "exactly what will be sent, and its sha256")
    approve = bound("approve", "shows what will be sent, asks, and approves exactly that")
    approve.add_argument("--yes", action="store_true", help="do not ask; needs --sha256, as `view` showed it")
    edit = bound("edit", "opens what will be sent in $EDITOR; then look at it and approve it")
    edit.add_argument("--draft-file", metavar="FILE", help="take the text from here (-: standard input)")
    edit.add_argument(
        "--file", metavar="FILE", help="go on with a text that was kept; in $EDITOR at a terminal, else as it stands"
    )
    edit.add_argument("--renew", action="store_true", help="give it its time anew: an expired request asks again")
    bound("restore", "has back what it said before, of a request that can't be used: an editor emptied it")
    revise = bound("revise", "asks for a new draft; the old one can't be approved any more")
    revise.add_argument("instruction", metavar="INSTRUCTION", type=_words, help="what should be different")
    reject = bound("reject", "rejects it and the task it serves; nothing is sent")
    reject.add_argument(
        "reason", metavar="REASON", nargs="?", default="", type=_words, help="why, for the note beside it"
    )
    snooze = bound("snooze", "hides it from the list until a time; it comes back by itself, and its time goes on")
    snooze.add_argument("until", metavar="UNTIL", help="a time (2026-06-01T17:00:00Z), or a span: 30m, 2h, 1d")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked; 0 done, 1 refused (with the reason), 2 wrong usage or bad settings, 130 interrupted."""
    options = arguments().parse_args(argv)
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        tell_problems("approve", error.problems)
        return 2
    try:
        with readers_may_leave():
            _do(services, options)
            sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        print("\nstopped; nothing was answered", file=sys.stderr)
        return 130
    except EOFError:
        return _failed(options, "there is no answer to read: nothing was answered")
    except NotHere:
        return _failed(options, _elsewhere(services))
    except Refused as error:
        return _failed(options, str(error), error.kept)
    except (ApprovalError, StoreProblem, VaultProblem) as error:
        return _failed(options, str(error))
    except OSError as error:
        return _failed(options, f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    finally:
        services.close()


def _failed(options: argparse.Namespace, reason: str, kept: Path | None = None) -> int:
    if options.json:
        facts = {"error": reason} | ({"kept": str(kept)} if kept is not None else {})
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(f"error: {reason}", file=sys.stderr)
    return 1


def _elsewhere(services: Services) -> str:
    """Where a draft-only node's person goes with an answer."""
    return (
        f"this node ({services.settings.agent_name}) is draft-only and takes no answers. Answer on the Local node: "
        f"`{elsewhere('approve')}` there, its API, or its vault in Obsidian (after a sync)"
    )


def _do(services: Services, options: argparse.Namespace) -> None:
    if options.command == "list":
        _list(services, options)
        return
    if services.settings.draft_only and options.command != "view":
        raise NotHere
    pending = find(services, options.request)
    if getattr(options, "sha256", None) not in (None, pending.sha256):
        raise Refused(f"{pending.request_id} was changed since it was shown: look at it again (`view`)")
    {
        "view": _view,
        "approve": _approve,
        "edit": _edit,
        "restore": _restore,
        "revise": _revise,
        "reject": _reject,
        "snooze": _snooze,
    }[options.command](services, options, pending)


# What waits


def _list(services: Services, options: argparse.Namespace) -> None:
    approvals = services.approvals
    found = approvals.superseded() if options.show in ("superseded", "all") else []
    found += approvals.pending() if options.show != "superseded" else []
    shown = [pending for pending in found if options.show in ("all", pending.state)]
    shown.sort(key=lambda pending: (pending.expires_in is None, pending.expires_in or 0, pending.request_id))
    now = services.clock.now()
    removed = (
        _removed(services, now, {one.request_id for one in approvals.pending()})
        if options.show in ("waiting", "all")
        else []
    )
    if options.json:
        found_removed = [
            {"id": answer.request_id, "at": format_time(answer.at), "how": answer.said} for answer in removed
        ]
        facts = {"items": [_facts(pending) for pending in shown], "removed": found_removed}
        print(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    for pending in shown:
        print(*_lines(pending, now), sep="\n")
    for answer in removed:
        print(f"{answer.request_id}  removed unanswered at {format_time(answer.at)}: {visible.plain(answer.said)}")
    hidden = sum(pending.state == "snoozed" for pending in found) if options.show == "waiting" else 0
    more = f"; {hidden} snoozed (`list --show snoozed`)" if hidden else ""
    print(f"{len(shown)} {'requests' if options.show == 'all' else options.show}{more}")


def _removed(services: Services, now: datetime, waiting: set[str]) -> list[Answer]:
    """What somebody removed unanswered in the last week; a draft-only node keeps no answers."""
    if services.settings.draft_only:
        return []
    return services.store.answers.removed_since(now - timedelta(days=7), MOST_REMOVED, waiting)


def _lines(pending: Pending, now: datetime) -> list[str]:
    request = pending.request
    what = f"{request.action} → {', '.join(_people(pending)) or '(nobody)'}" if request else "can't be read"
    lines = [f"{pending.request_id}  {visible.plain(what)}"]
    if request:
        age = expiry.in_words(max(0, int((now - parse_time(request.created)).total_seconds())))
        left = "expired: edit --renew has it asked again" if pending.expired else f"{_left(pending)} left"
        lines[0] += f"  {age} old, {left}"
        lines.append(f"    {visible.plain(headline(request))}")
    said = {badge.words for badge in pending.badges}
    lines += [f"  ! {visible.plain(text)}" for text in pending.problems]
    grave = [badge for badge in pending.badges if badge.severity != Severity.INFO]
    lines += [f"  {_SIGNS[badge.severity]} {visible.plain(badge.words)}" for badge in grave]
    lines += [f"  ! {visible.plain(text)}" for text in pending.risk if text not in said]
    lines += [f"  ! {pending.warning}"] if pending.warning else []
    if pending.needs_confirmation and pending.state == "waiting":
        lines.append("  ! lies in Approved/, but is not confirmed yet: look at it, then approve it here")
    if pending.snoozed_until:
        lines.append(f"  snoozed until {format_time(pending.snoozed_until)}")
    if pending.superseded:
        lines.append(f"  superseded by {pending.superseded.next}: {visible.plain(pending.superseded.instruction)}")
    return lines


def _view(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    if options.json:
        shown = [{"label": label, "text": text} for label, text in services.approvals.shown(pending)]
        facts = _facts(pending) | {"shown": shown, "content": pending.text}
        print(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    print(*laid_out(services, pending), sep="\n")


def laid_out(services: Services, pending: Pending) -> list[str]:
    """What will be sent, each invisible character written out, and what is to be said of it."""
    lines = _lines(pending, services.clock.now())
    if pending.request is None:
        return [*lines, "", visible.plain(pending.text, keep="\n")]
    lines += [f"  · {visible.plain(badge.words)}" for badge in pending.badges if badge.severity == Severity.INFO]
    shown = services.approvals.shown(pending)
    said = {label.lower() for label, _ in shown}
    fields = [f"{label}: {visible.plain(text)}" for label, text in shown if label != "Text"]
    others = {
        name: value
        for name, value in pending.request.fields.items()
        if said.isdisjoint({name, name.removesuffix("s")})  # of `attachments` each has a line
    }
    fields += [f"{name}: {visible.plain(_inline(value))}" for name, value in others.items()]
    text = next((text for label, text in shown if label == "Text"), pending.request.draft)
    draft = visible.plain(text, keep="\n").split("\n")
    return [*lines, "", *fields, "", *(f"| {line}" for line in draft), "", f"sha256: {pending.sha256}"]


def _left(pending: Pending) -> str:
    return expiry.in_words(pending.expires_in or 0)


def _people(pending: Pending) -> list[str]:
    return recipients(pending.request.fields) if pending.request else []


def _inline(value: Any) -> str:
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)


def _facts(pending: Pending) -> dict[str, Any]:
    request = pending.request
    return {
        "id": pending.request_id,
        "path": pending.path,
        "state": pending.state,
        "sha256": pending.sha256,
        "action": request.action if request else None,
        "fields": dict(request.fields) if request else {},
        "draft": request.draft if request else None,
        "created": request.created if request else None,
        "expires": format_time(pending.expires) if pending.expires else None,
        "expires_in_seconds": pending.expires_in,
        "expired": pending.expired,
        "warning": pending.warning,
        "risk": list(pending.risk),
        "badges": [badge.to_dict() for badge in pending.badges],
        "problems": list(pending.problems),
        "needs_confirmation": pending.needs_confirmation,
        "snoozed_until": format_time(pending.snoozed_until) if pending.snoozed_until else None,
        "superseded_by": pending.superseded.next if pending.superseded else None,
    }


def find(services: Services, named: str) -> Pending:
    """The request of this id, or the one whose id ends so. Raises `NotFound` or `Refused`."""
    approvals = services.approvals
    known = {pending.request_id: pending for pending in (*approvals.superseded(), *approvals.pending())}
    wanted = bare_id(named)
    found = [request_id for request_id in known if request_id.casefold() == wanted]
    found = found or [request_id for request_id in known if wanted and request_id.casefold().endswith(wanted)]
    if not found:
        raise NotFound(f"no request {named} waits for an answer; `{command('approve')}` lists what does")
    if len(found) > 1:
        raise Refused(f"{named} may be any of {', '.join(sorted(found))}")
    return known[found[0]]


# The answers


def _approve(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    if options.yes and options.sha256 is None:
        raise Refused("--yes needs --sha256: approve what you have seen (`view` shows it)")
    if options.sha256 is None:
        if options.json or not sys.stdin.isatty():
            raise Refused("there is nobody to ask: name what you have seen by --sha256 (`view` shows it)")
        print(*laid_out(services, pending), "", sep="\n")
        if input("Send exactly this? [y/N] ").strip().lower() not in ("y", "yes"):
            raise Refused("not approved")
    with _undisturbed():
        record = services.approvals.approve(pending.request_id, pending.sha256, by=BY, via=VIA)
    left = services.brakes.undo_seconds(record)
    how_long = f"for {left} s" if left else "until it is carried out"
    take_back = command(f"actions cancel {record.action_id}")
    text = f"{pending.request_id} is approved (action {record.action_id})\nIt can be taken back {how_long}: {take_back}"
    standing = stands_still(services.settings)
    if standing is not None:
        text += f"\n! It is not carried out: {visible.plain(standing.reason)}"
        text += f". To go on: {command('actions go')}" if standing.short == "stopped" else ""
    waits = standing.reason if standing else None
    _say(options, record.to_dict() | {"undo_seconds_left": left, "waits": waits}, text)


def _edit(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    request, folder = pending.request, services.settings.state_dir / "edits"
    if request is None:
        raise Invalid(*pending.problems)
    sha256: str | None
    if options.draft_file is not None:
        is_typed = options.draft_file == "-"
        data = sys.stdin.buffer.read() if is_typed else Path(options.draft_file).read_bytes()
        sheet = Sheet.keep(folder, request.id, pending.sha256, data) if is_typed else None
        with _kept(sheet, "edit {id} --draft-file {path}", request.id):
            sha256 = _change(services, options, pending, {"draft": _decoded(data).removesuffix("\n")})
    elif options.file is None and options.renew and not sys.stdin.isatty():
        sha256 = _change(services, options, pending, {})
    else:
        if options.file is None:
            for path in editing.kept(folder, request.id):
                how = command(f"approve edit {request.id} --file {shlex.quote(str(path))}")
                print(f"A text that you wrote for it before is kept. To go on with that one: {how}", file=sys.stderr)
            sheet = Sheet.begin(folder, request, pending.sha256)
        else:
            sheet = Sheet(Path(options.file), None, folder)
            if options.sha256 is None and not sheet.is_built_on(pending.sha256):
                raise Refused(
                    f"the request was changed since this text was begun, and the text would go over that: look at it"
                    f" (`view {request.id}`), then say which bytes it may replace: --sha256 {pending.sha256}",
                    sheet.path,
                )
        with _kept(sheet, "edit {id} --file {path}", request.id):
            sha256 = _edited_by_hand(services, options, pending, request, sheet)
    if sha256 is None:
        raise Refused("nothing was changed")
    then = command(f"approve approve {request.id}")
    text = f"{request.id} is changed. To look at it and approve it: {then}"
    _say(options, {"id": request.id, "sha256": sha256}, text)


def _edited_by_hand(
    services: Services, options: argparse.Namespace, pending: Pending, request: ApprovalRequest, sheet: Sheet
) -> str | None:
    """The sha256 after what a person wrote in their editor, opened again until it can be taken or they have enough of
    it; None where they changed nothing."""
    asks = sys.stdin.isatty() and not options.json and editing.editor() is not None
    opens = options.file is None or asks
    while True:
        try:
            if opens:
                sheet.open(_undisturbed)
            changes = sheet.changes(request)
            return _change(services, options, pending, changes) if changes or options.renew else None
        except (BadEdit, Refused) as error:
            if not asks or not sheet.is_written():
                raise
            print(f"error: {visible.plain(str(error))}", file=sys.stderr)
            if input("Open it again, as you wrote it? [Y/n] ").strip().lower() not in ("", "y", "yes"):
                raise
            opens = True


def _change(services: Services, options: argparse.Namespace, pending: Pending, changes: dict[str, Any]) -> str:
    name, before = pending.request_id, pending.sha256
    with _undisturbed():
        return services.approvals.edit(name, before, by=BY, via=VIA, renew=options.renew, **changes)


@contextmanager
def _kept(sheet: Sheet | None, again: str, request_id: str) -> Iterator[None]:
    """Where this ends by an error, what a person wrote stays, and the error says where and how to go on with it."""
    try:
        yield
    except BaseException as error:
        if sheet is None or not sheet.is_written():
            if sheet is not None:
                sheet.remove()
            raise
        how = command("approve " + again.format(id=request_id, path=shlex.quote(str(sheet.path))))
        where = f"What you wrote is kept in {sheet.path}. To go on with it: {how}"
        if not isinstance(error, ApprovalError | Refused | OSError):
            print(f"\n{where}", file=sys.stderr)
            raise
        raise Refused(f"{str(error).rstrip('.')}.\n{where}", sheet.path) from error
    if sheet is not None:
        sheet.remove()


def _restore(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    name = pending.request_id
    with _undisturbed():
        sha256 = services.approvals.restore(name, pending.sha256, by=BY, via=VIA)
    then = command(f"approve approve {name}")
    _say(options, {"id": name, "sha256": sha256}, f"{name} is as it was. To look at it and approve it: {then}")


def _revise(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    with _undisturbed():
        new = services.approvals.revise(pending.request_id, options.instruction, by=BY, sha256=pending.sha256, via=VIA)
    facts = {"id": pending.request_id, "state": "superseded", "next": new.next, "task": new.task, "draft": new.number}
    _say(options, facts, f"{pending.request_id} is superseded; the new draft will be {new.next}")


def _reject(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    with _undisturbed():
        services.approvals.reject(pending.request_id, options.reason, by=BY, sha256=pending.sha256, via=VIA)
    _say(options, {"id": pending.request_id, "stage": "rejected"}, f"{pending.request_id} is rejected")


def _snooze(services: Services, options: argparse.Namespace, pending: Pending) -> None:
    until = _moment(options.until, services.clock.now())
    with _undisturbed():
        shown = services.approvals.snooze(pending.request_id, until, by=BY, sha256=pending.sha256, via=VIA)
    text = f"{pending.request_id} is hidden until {format_time(until)}"
    if shown.expires is not None:
        before = " before that" if shown.expires <= until else ""
        text += f"; its time goes on: it expires{before} at {format_time(shown.expires)}"
    _say(options, _facts(shown), text)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C does nothing meanwhile: an answer is given wholly or not at all."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # unlike SIG_IGN, no child inherits it
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the text is not UTF-8: nothing was changed") from None


def _say(options: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts, ensure_ascii=False) if options.json else text)


def _moment(text: str, now: datetime) -> datetime:
    span = _SPAN.fullmatch(text.strip().lower())
    if span is not None:
        return (now + timedelta(**{_UNITS[span[2]]: int(span[1])})).replace(microsecond=0)
    try:
        return parse_moment(text)
    except ValueError as error:
        unit = " (it has a unit)" if text.strip().isdigit() else ""
        raise Refused(f"UNTIL {error}, or a span such as 30m, 2h, 1d{unit}") from None


def _digest(text: str) -> str:
    if re.fullmatch("[0-9a-fA-F]{64}", text) is None:
        raise argparse.ArgumentTypeError("must be the 64 hex digits that `view` showed")
    return text.lower()


def _words(text: str) -> str:
    if not visible.is_text(text):
        raise argparse.ArgumentTypeError("it is not UTF-8")
    if len(text) > LONGEST:
        raise argparse.ArgumentTypeError(f"at most {LONGEST} characters")
    return text


if __name__ == "__main__":
    sys.exit(main())
