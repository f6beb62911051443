"""Approve on a device that you trust, for Local to execute: `python -m scripts.approver_key`.

`create` makes a key on that device, `enrol` lets it count on Local, `sign` approves a waiting request with it: the
approval travels in the vault. How it is signed: docs/approvals-signing.md. Running a command again changes nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts import approve
from scripts.editing import Refused
from utils.adapters import approver_keys
from utils.adapters.approver_keys import ApproverKeys, Exists
from utils.bootstrap import Services
from utils.core import badges, remote_approval
from utils.core.badges import Facts
from utils.core.commands import command, elsewhere
from utils.core.remote_approval import KEY, BadStatement, public_key
from utils.core.signing import BadKey
from utils.execution.answers import ApprovalError, Changed, Pending
from utils.execution.store import StoreProblem
from utils.ports import AdapterError
from utils.settings import InvalidSettings

_LARGEST = 16 * 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 done, 1 not possible (with the remedy) or not valid, 2 wrong usage or bad settings."""
    options = _parser().parse_args(_guarded(sys.argv[1:] if argv is None else argv))
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        print(f"approver_key: {len(error.problems)} problem(s):", *error.problems, sep="\n  - ", file=sys.stderr)
        return 2
    try:
        print(_do(options, services))
    except (BadKey, BadStatement, ApprovalError, Refused, AdapterError, StoreProblem) as error:
        print(f"approver_key: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"approver_key: {error.strerror}: {error.filename} (is it this user's?)", file=sys.stderr)
        return 1
    finally:
        services.close()
    return 0


def _guarded(argv: Sequence[str]) -> list[str]:
    """The arguments, with `--` before a public key at their end: one key in 64 begins with a hyphen."""
    is_key = len(argv) > 1 and argv[-1].startswith("-") and KEY.fullmatch(argv[-1]) is not None
    return [*argv[:-1], "--", argv[-1]] if is_key and "--" not in argv else list(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.approver_key",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="An approval that no enrolled key signed waits for a confirmation on Local.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser(
        "create", help="make a key on the device that you approve with; prints how to enrol it"
    )
    create.add_argument("name", metavar="NAME", help="what you call the device: ada-laptop")
    _key(create)
    show = commands.add_parser("show", help="the public key of this device, and how it is enrolled")
    show.add_argument("name", metavar="NAME", nargs="?", default="NAME", help="what you call the device: ada-laptop")
    _key(show)
    enrol = commands.add_parser("enrol", help="on Local: let approvals by a key count")
    enrol.add_argument("name", metavar="NAME", help="whose it is: ada-laptop")
    enrol.add_argument("key", metavar="KEY", help="the public key (43 characters), or its file")
    commands.add_parser("list", help="on Local: whose approvals count, and whose no longer")
    revoke = commands.add_parser("revoke", help="on Local: let them count no longer, those not yet executed included")
    revoke.add_argument("which", metavar="NAME", help="a name, or the public key")
    sign = commands.add_parser("sign", help="approve a waiting request; says how to carry it to Local")
    sign.add_argument("request", metavar="ID", help="the request's id")
    sign.add_argument(
        "--sha256", metavar="HEX", help="of the file as you saw it; without it you are shown it, and asked"
    )
    sign.add_argument(
        "--hours", type=float, metavar="N", help="let it count for so long (default: what its action has)"
    )
    _key(sign)
    verify = commands.add_parser("verify", help="whether an approval counts here, and if not, why (exit 1)")
    verify.add_argument("file", metavar="FILE", type=Path, help="its file")
    return parser


def _key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", metavar="FILE", type=Path, help="the private key (default: STATE_DIR/keys/approver.pem)"
    )


def _do(options: argparse.Namespace, services: Services) -> str:
    match options.command:
        case "create":
            return _create(services, options.name, options.key)
        case "show":
            path = _private(services, options.key)
            return _enrolling(path, options.name, approver_keys.own(path))
        case "sign":
            return _sign(services, options)
        case "verify":
            return _verify(services, options.file)
    if services.settings.draft_only:
        raise BadKey("this node is draft-only and judges no approvals: run it on the Local node")
    store = ApproverKeys(services.settings.keys_dir)
    match options.command:
        case "enrol":
            new = store.enrol(options.name, _public(options.key), services.clock.now())
            return f"{options.name}: approvals by this key count {'now' if new else 'already'}"
        case "revoke":
            return _revoke(services, store, options.which)
    return _listing(services, store)


def _private(services: Services, given: Path | None) -> Path:
    """Where the private key lies: never in the vault, never on the node that is not trusted."""
    if services.settings.draft_only:
        raise BadKey(
            "this node is draft-only: whoever owns the server would own your approvals. Use a device of yours, or a"
            " browser (docs/approvals-signing.md)"
        )
    path = (given or services.settings.keys_dir / "approver.pem").expanduser().absolute()
    if path.resolve().is_relative_to(services.layout.root.resolve()):
        raise BadKey(f"{path} lies in the vault, which is synced: keep the key elsewhere")
    return path


def _create(services: Services, name: str, given: Path | None) -> str:
    path = _private(services, given)
    remote_name = approver_keys.named(name)
    try:
        key = approver_keys.create(path)
    except Exists as error:
        raise BadKey(f"{error}\n\n{_enrolling(path, remote_name, approver_keys.own(path))}") from None
    return _enrolling(path, remote_name, key)


def _enrolling(path: Path, name: str, key: str) -> str:
    """Where the private key lies, and the command that lets its public half count."""
    return (
        f"The key lies in {path}, readable by you alone.\n\nOn the Local node run:\n\n"
        f"    {elsewhere(f'approver_key enrol {name} {key}')}"
    )


def _public(given: str) -> str:
    """The public key that `given` is, or that lies in the file it names."""
    path = Path(given).expanduser()
    try:
        with path.open("rb") as file:
            given = file.read(_LARGEST).decode("utf-8", "replace")
    except (OSError, ValueError, RuntimeError):
        pass  # no file: the key itself
    return public_key(given)


def _listing(services: Services, store: ApproverKeys) -> str:
    lines = [
        f"{known.name:<16} {'revoked ' + known.revoked_at[:10] if known.revoked_at else 'enrolled':<18} {known.key}"
        for known in store.all()
    ]
    if lines:
        return "\n".join(lines)
    if (services.settings.keys_dir / "approver.pem").exists():
        return f"Nobody is enrolled here. Who is, Local knows; the key of this device: {command('approver_key show')}"
    return f"Nobody approves from elsewhere. Begin with: {command('approver_key create NAME')}"


def _revoke(services: Services, store: ApproverKeys, which: str) -> str:
    gone = store.revoke(which, services.clock.now())
    revoked = [known for known in store.matching(which) if known.revoked_at]
    count = sum(services.remote_approvals.withdraw(known) for known in revoked)
    said = f"{which}: approvals by this key count {'no longer' if gone else 'no longer, as before'}"
    return f"{said}; {count} not yet executed are void and ask again" if count else said


def _sign(services: Services, options: argparse.Namespace) -> str:
    path = _private(services, options.key)
    signer = approver_keys.own(path)
    pending = approve.find(services, options.request)
    if options.sha256 is not None and options.sha256 != pending.sha256:
        raise Changed(pending.sha256)
    if options.sha256 is None:
        _ask(services, _as_known(services, pending))
    remote = services.remote_approvals
    statement = remote.prepare(pending.request_id, pending.sha256, signer, hours=options.hours)
    signed = approver_keys.sign(path, statement)
    where = services.layout.relative(remote.give(pending.request_id, pending.sha256, signed))
    return f"approved until {signed.expires}: {where}\n\n{_carried(services.layout.root, where)}"


def _carried(vault: Path, where: str) -> str:
    """How an approval gets to Local. Two nodes named local in one vault stop each other's sync."""
    git, path = f"git -C {shlex.quote(str(vault))}", shlex.quote(where)
    lines = [f"add -- {path}", f"commit -m approval -- {path}", "pull --rebase", "push"]
    return "\n".join(
        [
            "On a device with a plain clone of the vault carry it to Local by git:",
            "",
            f"    {' && '.join(f'{git} {words}' for words in lines)}",
            "",
            "Never by scripts.sync, and start no node there: a second Local stops the sync of the real one. On the"
            " Local node itself there is nothing to do.",
        ]
    )


def _as_known(services: Services, pending: Pending) -> Pending:
    """As a device can tell it that never sent anything: who is new, only the receipts on Local say."""
    if pending.request is None or services.store.known_recipients():
        return pending
    facts = Facts(None, services.store.facts.letter(pending.request.source_task))
    return replace(pending, badges=badges.badges(pending.request, facts))


def _ask(services: Services, pending: Pending) -> None:
    """Show what is to be approved, as `scripts.approve view` does, and have it approved. Raises `BadKey` where nobody
    says yes."""
    print(*approve.laid_out(services, pending), sep="\n")
    if not sys.stdin.isatty():
        raise BadKey("nobody is here to be asked: give --sha256 of what you saw")
    if input("Approve exactly this? Type yes: ").strip() != "yes":
        raise BadKey("not approved")


def _verify(services: Services, path: Path) -> str:
    with path.open("rb") as file:
        statement = remote_approval.read(file.read(_LARGEST))
    if services.settings.draft_only:
        if not statement.signature or not approver_keys.is_genuine(statement):
            raise BadStatement("it is not signed, or its signature is wrong")
        return f"the signature is right, by {statement.signer}; whether it counts is for Local to say"
    why = services.remote_approvals.doubt(statement)
    if why is not None:
        raise BadStatement(f"it does not count: {why}")
    approver = ApproverKeys(services.settings.keys_dir).find(statement.signer)
    return f"it counts: {statement.action} of {statement.request}, by {approver.name if approver else statement.signer}"


if __name__ == "__main__":
    sys.exit(main())
