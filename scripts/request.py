"""Ask for something yourself: `python -m scripts.request new ACTION`.

`new` writes a complete request into `Pending_Approval/`, where it waits for an answer as any other one does. What is
wrong with it, and which account is missing, is said at once, and then nothing is written. On the Local node only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from utils.bootstrap import Services
from utils.core import attached, visible
from utils.core.acting import Order
from utils.core.badges import Severity
from utils.core.books import EXPENSE
from utils.core.commands import command, elsewhere
from utils.core.policy import ACTIONS, MAIL_ACTIONS
from utils.core.social import LIMITS
from utils.core.stages import Stage
from utils.core.task import ApprovalRequest, InvalidTask, Task, format_time
from utils.daemon import readers_may_leave, tell_problems
from utils.execution import by_hand, requests
from utils.execution.answers import ApprovalError, Pending
from utils.execution.schema import StoreProblem
from utils.hands.accounts import lack
from utils.mail import forward, reply, task_file
from utils.ports import AdapterError
from utils.settings import InvalidSettings
from utils.vault import frontmatter, worktree
from utils.vault.layout import OutsideVault
from utils.vault.skeleton import Condition, condition

#: One for each action, and for a vendor's bill, which is an invoice of the kind `expense`; the tests run them.
EXAMPLES = {
    "send_email": "--field 'to=Ann Example <ann@example.org>' --field 'subject=Our offer' --attach Accounting/offer.pdf"
    " --draft text.md",
    "reply_email": "--mail '<q1@example.org>' --draft text.md",
    "forward_email": "--mail email-20260601T090000Z-0123abcd --field to=bob@example.org --draft text.md",
    "linkedin_post": "--field link=https://example.org/news --draft text.md",
    "facebook_post": "--attach Social/shop.jpg --alt 'Our shop, its door open' --draft text.md",
    "instagram_post": "--attach Social/shop.jpg --alt 'Our shop, its door open' --draft text.md",
    "twitter_post": "--draft text.md",
    "whatsapp_send": "--field to=+43660123456 --field 'template={name: hello, language: de, parameters: [Ann, Monday]}'"
    " --draft text.md",
    "invoice": "--field 'partner=ACME GmbH' --field currency=EUR --field due_date=2026-12-24"
    " --field 'lines={description: Consulting, quantity: 1.5, price: 120.00, tax: 19}'"
    " --field 'lines={description: Travel, price: 45.10}'",
    "expense": "--field 'partner=Paper & Co' --field reference=4711 --field currency=EUR --field due_date=2026-12-24"
    " --field 'lines={description: Paper, quantity: 10, price: 3.90, tax: 19}'",
    "payment": "--field 'payee=ACME GmbH' --field amount=119.00 --field currency=EUR --field reference=R-2026-17"
    " --field 'iban=NL91 ABNA 0417 1643 00'",
}
_NO_ACTION = "0" * 32
_T = TypeVar("_T")


class Problems(list[str]):
    """All that is wrong, so that it is said at once."""

    def of(self, part: Callable[..., _T], *arguments: Any) -> _T | None:
        """What this part says; None where it says what is wrong instead."""
        try:
            return part(*arguments)
        except (Refused, InvalidTask) as error:
            self += error.problems
        except OSError as error:
            self.append(_words(error))
        return None


class Refused(Exception):
    """Nothing was written; `problems` says why, a sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(dict.fromkeys(problems))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    lines = [f"  {elsewhere(f'request new {action}')} {words}" for action, words in EXAMPLES.items()]
    examples = "\n".join(["examples, one for each action:", "", *lines, "", "More: docs/requests.md"])
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.request", description=f"{summary}\n\n{rest}", epilog=examples, formatter_class=plain
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    what = "write a request and have it wait for an answer"
    new = commands.add_parser("new", help=what, description=what, epilog=examples, formatter_class=plain)
    what = f"{', '.join(ACTIONS)}; or expense: a vendor's bill (an invoice of that kind)"
    new.add_argument("action", metavar="ACTION", choices=[*ACTIONS, EXPENSE], help=what)
    new.add_argument(
        "--field",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a property of the request; again for each further one, and for each entry of a list",
    )
    new.add_argument("--draft", metavar="FILE", help="the text that is sent (-: standard input)")
    new.add_argument(
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        help="a file of the vault that a mail takes along, or the image of a post; its sha256 is computed",
    )
    new.add_argument("--alt", metavar="TEXT", help="what the image shows, for who can't see it")
    new.add_argument(
        "--mail", metavar="ID", help="the mail to reply to or to forward: its task's id, or its Message-ID"
    )
    new.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked; 0 done, 1 refused (with all reasons), 2 wrong usage or bad settings."""
    options = arguments().parse_args(argv)
    if options.action == EXPENSE:
        options.action, options.field = "invoice", [f"kind={EXPENSE}", *options.field]
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        tell_problems("request", error.problems)
        return 2
    try:
        new = _new(services, options)
    except (Refused, InvalidTask) as error:
        return _failed(options, error.problems)
    except (ApprovalError, StoreProblem, frontmatter.InvalidFrontMatter) as error:
        return _failed(options, [str(error)])
    except OSError as error:
        return _failed(options, [_words(error)])
    else:
        with readers_may_leave():
            _say(services, options, *new)
            sys.stdout.flush()
        return 0
    finally:
        services.close()


def _failed(options: argparse.Namespace, problems: Sequence[str]) -> int:
    if options.json:
        print(json.dumps({"error": "; ".join(problems), "problems": list(problems)}, ensure_ascii=False))
    else:
        print("error: nothing was written:", *(f"- {visible.plain(text)}" for text in problems), sep="\n  ",
              file=sys.stderr)  # fmt: skip
    return 1


def _words(error: OSError) -> str:
    return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")


def _new(services: Services, options: argparse.Namespace) -> tuple[Pending, list[str]]:
    """The request as it waits now, and what is to be said of it. Raises `Refused`, `InvalidTask`, `OSError`."""
    s = services.settings
    if s.draft_only:
        raise Refused(
            f"this node ({s.agent_name}) is draft-only and takes no requests of yours. Write it on the Local node:"
            f" `{elsewhere(f'request new {options.action}')}` there, or as a note in its vault (docs/requests.md)"
        )
    if condition(services.layout) is not Condition.READY:
        raise Refused(f"there is no vault at {services.layout.root} yet: start this node, or set VAULT_PATH")
    fields, wrong = by_hand.fields_of(options.action, options.field)
    problems, remarks = Problems(wrong), list[str]()
    draft = problems.of(_draft, options)
    found = problems.of(_of_mail, services, options, fields, draft)
    fields, draft, remarks = found or (fields, draft, remarks)
    is_without = options.action in by_hand.WITHOUT_TEXT or _image(options)
    if found and draft is None and options.draft is None and not is_without:
        problems.append("there is no text to send: name its file by --draft (-: standard input)")
    _freeze(services, options, fields, problems)
    now, hours = services.clock.now(), s.zones.actions[options.action].expires_hours
    # What was not taken is told already: the rules of requests must not call it missing as well.
    text = "?" if draft is None and options.action not in by_hand.WITHOUT_TEXT and problems else draft
    meta, body = by_hand.request(options.action, fields, text, by=services.claims.agent, now=now, expires_hours=hours)
    request, more = requests.parse(frontmatter.write(meta, body), meta["id"])
    if request is None and options.action != "whatsapp_send":
        filled = {name: by_hand.PLAUSIBLE.get(name) for name in ACTIONS[options.action].required if not meta.get(name)}
        more += requests.parse(frontmatter.write({**meta, **filled}, body), meta["id"])[1]
    given = {word.partition("=")[0] for word in options.field} | ({"image"} if options.attach else set())
    if found is not None:
        problems += [one for one in more if one not in {f"'{options.action}' needs '{name}'" for name in given}]
    if request is not None and found is not None:
        problems += _problems_here(services, request)
    elif missing := lack(services.hand(options.action), options.action, now):
        problems.append(missing)
    if problems:
        raise Refused(*problems)
    services.claims.create(Stage.PENDING_APPROVAL, meta, body)
    return services.approvals.get(meta["id"]), remarks


def _image(options: argparse.Namespace) -> bool:
    """Whether an image is to be published, which needs no text."""
    return options.action in LIMITS and bool(options.attach or any(word.startswith("image=") for word in options.field))


def _problems_here(services: Services, request: ApprovalRequest) -> list[str]:
    """What is wrong with its files, and why this node could not carry it out."""
    problems = requests.problems_of_files(services.layout, request)
    try:
        problems += services.hand(request.action).plan(Order(_NO_ACTION, request, services.clock.now())).obstacles
    except InvalidTask as error:
        problems += error.problems
    except AdapterError as error:
        problems.append(str(error))
    return problems


def _draft(options: argparse.Namespace) -> str | None:
    if options.draft is None:
        return None
    data = sys.stdin.buffer.read() if options.draft == "-" else Path(options.draft).read_bytes()
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError:
        raise Refused(f"the text {options.draft} is not UTF-8") from None


def _of_mail(
    services: Services, options: argparse.Namespace, given: dict[str, Any], draft: str | None
) -> tuple[dict[str, Any], str | None, list[str]]:
    """Fields and text of a reply to a mail of the vault, or of its forward, and what is to be said of it."""
    if options.mail is None:
        return given, draft, []
    if options.action not in ("reply_email", "forward_email"):
        raise Refused(f"--mail is for reply_email and forward_email, not for {options.action}")
    task = _mail(services, options)
    mail = task_file.mail_of(task)
    if not mail.message_id:
        raise Refused(f"{task.id} has no Message-ID: write a send_email instead, with its text pasted into the draft")
    if options.action == "reply_email":
        source = {name: task.source.get(name) for name in task_file.REQUEST_SOURCE}
        return {**reply.fields(mail), "source": source, **given}, draft, []
    if not mail.text:
        raise Refused(_pasted(f"the vault has no text of the mail {task.id}", mail.message_id))
    remarks = ["the vault has only the beginning of this mail: the rest is not forwarded"] if mail.truncated else []
    stored = [file for file in task.source.get("attachments") or [] if isinstance(file, dict)]
    left = [file for file in stored if str(file.get("path")) not in options.attach]
    if left:
        how = [str(file.get("path") or f"{file.get('name')}, which is not in the vault") for file in left]
        remarks.append(f"attachments that are not taken along (--attach FILE takes one): {'; '.join(how)}")
    whole = "\n\n".join([*([draft] if draft and draft.strip() else []), forward.quoted(mail)])
    return {**forward.fields(mail), **given}, whole, remarks


def _mail(services: Services, options: argparse.Namespace) -> Task:
    found = forward.find(services.layout, options.mail)
    if not found:
        where = "no mail of this id lies in Needs_Action/, In_Progress/ or Done/ of the vault"
        if options.action == "forward_email":
            raise Refused(_pasted(where, "<its Message-ID>"))
        raise Refused(f"{where}: name its Message-ID by --field 'in_reply_to=<…>', with --field to=, and subject=")
    if len({task.id for task in found}) > 1:
        raise Refused(f"several mails have this Message-ID, name one: {', '.join(task.id for task in found)}")
    return found[0]


def _pasted(why: str, message_id: str) -> str:
    return (
        f"{why}: paste the original into the draft, below your words, and name the mail by"
        f" --field 'source_message={message_id}' instead of --mail"
    )


def _freeze(services: Services, options: argparse.Namespace, fields: dict[str, Any], problems: Problems) -> None:
    """Add the files of `--attach`, and the sha256 of each file that is named without one."""
    files = [path for given in options.attach if (path := problems.of(_vault_path, services, given)) is not None]
    if options.action in LIMITS:
        if len(files) > 1:
            problems.append("a post has one image")
        alt = {} if options.alt is None else {"alt": options.alt}
        if files or alt:
            image = fields.setdefault("image", {})
            if isinstance(image, dict):
                image.update({**({"path": files[0]} if files else {}), **alt})
    elif options.action in MAIL_ACTIONS:
        fields.setdefault("attachments", []).extend({"path": path} for path in files)
    elif files:
        problems.append(f"a {options.action} takes no files along")
    if options.alt is not None and options.action not in LIMITS:
        problems.append("--alt describes the image of a post")
    for name, entries in (("attachments", fields.get("attachments", [])), ("image", [fields.get("image")])):
        for entry in list(entries):
            if isinstance(entry, dict) and "sha256" not in entry and _lies_in_vault(entry.get("path")):
                digest = problems.of(_sha256, services, entry["path"])
                entries.remove(entry) if digest is None else entry.update(sha256=digest)
        if not any(entries):
            fields.pop(name, None)


def _vault_path(services: Services, given: str) -> str:
    """A file's path in the vault, whether it was named from there or from here."""
    if not Path(given).is_absolute() and worktree.look(services.layout.root, given).kind is worktree.Kind.FILE:
        return given
    place = Path(given).absolute()
    try:
        return services.layout.relative(place.parent.resolve() / place.name)
    except OutsideVault:
        if not place.exists():
            raise Refused(f"there is no file {given}, neither in the vault nor here") from None
        raise Refused(f"{given} does not lie in the vault: copy it to {services.layout.root} first") from None


def _lies_in_vault(path: object) -> bool:
    """Whether this may be the path of a vault's file; what it says wrong else, the rules of requests tell."""
    return not attached.read({"attachments": [{"path": path, "sha256": "0" * 64}]})[1]


def _sha256(services: Services, path: str) -> str:
    root = services.layout.root
    data = worktree.read(root, path) if worktree.look(root, path).kind is worktree.Kind.FILE else None
    if data is None:
        raise Refused(f"the vault has no file {path}")
    return hashlib.sha256(data).hexdigest()


def _say(services: Services, options: argparse.Namespace, pending: Pending, remarks: Sequence[str]) -> None:
    shown = services.approvals.shown(pending)
    expires = format_time(pending.expires) if pending.expires else ""
    if options.json:
        facts = {
            "id": pending.request_id,
            "path": pending.path,
            "sha256": pending.sha256,
            "expires": expires,
            "shown": [{"label": label, "text": text} for label, text in shown],
            "badges": [badge.to_dict() for badge in pending.badges],
            "remarks": list(remarks),
        }
        print(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    grave = [badge.words for badge in pending.badges if badge.severity != Severity.INFO]
    lines = [f"  {label}: {visible.plain(text)}" for label, text in shown if label != "Text"]
    lines += [f"  ! {visible.plain(text)}" for text in dict.fromkeys((*remarks, *grave, *pending.risk))]
    print(f"{pending.path} waits for your answer until {expires}", *lines, sep="\n")
    print(f"To look at it and approve it: {command(f'approve approve {pending.request_id}')}")


if __name__ == "__main__":
    sys.exit(main())
