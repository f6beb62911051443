"""The keys that this node signs its commits with, and those whose signatures it believes: `python -m scripts.keys`.

They lie in `STATE_DIR/keys/`, outside the vault. Running a command again changes nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence

from utils.adapters.ssh_keys import KeyStore, read_public_key
from utils.bootstrap import Services
from utils.core.commands import command, elsewhere
from utils.core.routing import LOCAL
from utils.core.signing import ADDRESSES, BadKey, Key, person
from utils.ports import AdapterError
from utils.settings import InvalidSettings, Settings, load
from utils.vault.skeleton import VaultProblem


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: 0 done, 1 not possible (with the remedy), 2 wrong usage or bad settings."""
    options = _parser().parse_args(argv)
    try:
        settings = load()
    except InvalidSettings as error:
        print(f"keys: {len(error.problems)} problem(s):", *error.problems, sep="\n  - ", file=sys.stderr)
        return 2
    try:
        print(_do(options, settings, KeyStore(settings.keys_dir)))
    except (BadKey, AdapterError) as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"keys: {error.strerror}: {error.filename} (is it this user's?)", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.keys",
        description=__doc__,
        epilog=f"First `{elsewhere('keys create')}` on both nodes, then on each the `enrol` command that the other one"
        " printed.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("create", help="make this node's key (never over one that exists), and say how to enrol it")
    commands.add_parser("show", help="this node's public key, and the command that enrols it on the other node")
    enrol = commands.add_parser("enrol", help="believe the signatures of a key")
    whose = enrol.add_mutually_exclusive_group(required=True)
    whose.add_argument("--zone", choices=sorted(ADDRESSES), help="it is the other node's")
    whose.add_argument("--person", metavar="NAME", help="it is yours, on another device: ada-phone")
    enrol.add_argument("key", metavar="KEY", nargs="+", help="a public key (`ssh-ed25519 AAAA…`), or its file")
    commands.add_parser("list", help="whose signatures are believed, and whose no longer")
    revoke = commands.add_parser("revoke", help="believe a key no longer")
    revoke.add_argument("which", metavar="NAME", help="a zone, a person's name, or a fingerprint (SHA256:…)")
    revoke.add_argument("--yes", action="store_true", help="also where it is this node's own")
    return parser


def _do(options: argparse.Namespace, settings: Settings, store: KeyStore) -> str:
    zone = settings.agent_name
    match options.command:
        case "create":
            made: list[bool] = []
            said = _create(settings, store, lambda: made.append(store.create(zone)))
            head = "A key was made" if made[0] else "There is a key already"
            return f"{said}{head}: {store.private}\n{_introduction(settings, store)}"
        case "show":
            return _introduction(settings, store)
        case "list":
            return _listing(store, zone)
        case "revoke":
            return _revoke(store, options.which, zone, sure=options.yes)
    text = read_public_key(" ".join(options.key))
    if options.zone == zone:
        raise BadKey(f"this is the {zone} node: its own key is made by `{command('keys create')}`")
    key = Key(text, ADDRESSES[options.zone] if options.zone else person(options.person))
    new: list[bool] = []
    said = _after_sync(settings, store, options.zone, lambda: new.append(store.enrol(key)))
    text = f"{said}{key.name}: {key.fingerprint} is {'now' if new[0] else 'already'} enrolled on this node ({zone})"
    return f"{text}\n{_missing(store, zone)}".strip()


def _create(settings: Settings, store: KeyStore, create: Callable[[], object]) -> str:
    """Make the node's key. The Cloud pushes its unsigned commits before; Local's next one vouches for its own."""
    if settings.agent_name == LOCAL or Services(settings).sync.has_signed():
        create()
        return ""
    return _after_sync(settings, store, settings.agent_name, create)


def _after_sync(settings: Settings, store: KeyStore, zone: str | None, change: Callable[[], object]) -> str:
    """Make `change`, which lets the first key of `zone` count, or a person's; what was synced before it, in words.

    From its first key on, what is committed in a zone's name without one is refused. So what was committed so far is
    carried over before, while its author line still counts. Raises `BadKey` where that can't be done.
    """
    if zone is None or store.keyring().enrolled(zone):
        change()
        return ""
    services = Services(settings)
    if services.sync.has_remote():
        print("syncing first, while what was committed without a key still counts …", file=sys.stderr, flush=True)
    try:
        result = services.sync.run_before(change)
        problem = result.error if result else None
    except (VaultProblem, OSError) as error:
        problem = str(error)
    finally:
        services.close()
    if problem:
        raise BadKey(
            f"nothing was changed. What {zone} committed without a key until now is refused from its first key on, so"
            f" it is carried over before, and that sync says: {problem}"
        )
    if result is None:
        return ""
    return f"What was committed so far is carried over ({result.summary()}). From now on {zone} has to sign.\n"


def introduction(settings: Settings, store: KeyStore) -> str:
    """The command that enrols this node's key on the other one. Raises `BadKey` where there is no key."""
    return elsewhere(f"keys enrol --zone {settings.agent_name} {shlex.quote(store.own())}")


def _introduction(settings: Settings, store: KeyStore) -> str:
    return (
        f"Its public half: {store.own()}\n\nOn the {settings.peer} node run:\n\n    {introduction(settings, store)}\n\n"
        f"{_missing(store, settings.agent_name)}"
    ).strip()


def _missing(store: KeyStore, zone: str) -> str:
    """What is left to do here."""
    keyring = store.keyring()
    peer = next(other for other in ADDRESSES if other != zone)
    if not keyring.own:
        return f"This node has no key of its own yet: {command('keys create')}"
    if not any(key.zone == peer for key in keyring.allowed):
        return f"The {peer} node's key is not enrolled here yet: run `{elsewhere('keys show')}` there."
    return ""


def _listing(store: KeyStore, zone: str) -> str:
    keyring = store.keyring()
    lines = [
        f"{key.name:<16} {state:<8} {key.fingerprint}{'  (this node)' * (key.zone == zone)}"
        for state, keys in (("enrolled", keyring.allowed), ("revoked", keyring.revoked))
        for key in keys
        if state == "revoked" or not keyring.was_revoked(key.fingerprint)
    ]
    return "\n".join(lines) or f"No key is known. Begin with: {command('keys create')}"


def _revoke(store: KeyStore, which: str, zone: str, *, sure: bool) -> str:
    peer = next(other for other in ADDRESSES if other != zone)
    if store.is_own(which) and not sure:
        raise BadKey(
            f"this is the key that this node ({zone}) signs with. Without it nothing syncs here until there is another"
            f" that the {peer} node knows. If somebody else has it, or it is to be replaced:"
            f" {command(f'keys revoke {zone} --yes')}, which says what comes next. To believe the {peer} node's key no"
            f" longer: {command(f'keys revoke {peer}')}"
        )
    key = store.revoke(which)
    if key is None:
        return f"{which} was revoked already"
    said = (
        f"{key.name}: {key.fingerprint} is revoked here. New commits signed with it are refused; what was taken over"
        " before stays."
    )
    if key.zone == zone:
        return (
            f"{said} Nothing syncs until this node has another key: {command('keys create')}\nThen on the {peer} node:"
            f" {elsewhere(f'keys revoke {zone}')}, and there the `enrol` command that `create` prints here."
        )
    if key.zone:
        return (
            f"{said} On the {peer} node, unless that is how it began: {elsewhere(f'keys revoke {peer} --yes')}, then"
            f" {elsewhere('keys create')}, and here the `enrol` command that it prints."
        )
    again = command(f"keys enrol --person {key.name} KEY")
    return f"{said} Revoke it on the other node too, then enrol the new key on both: {again}"


if __name__ == "__main__":
    sys.exit(main())
