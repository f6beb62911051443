"""Looks for secrets with the rules of `detect-secrets`, a maintained scanner, without loading it.

A process that ends at once (`secret_rules`) writes the rules of the installed version to `STATE_DIR`; whoever scans
reads them from there, so that nobody pays for what that package imports. `core/sync_rules` adds what it lacks.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.core import sync_rules
from utils.core.commands import python
from utils.core.sync_rules import Refusal
from utils.ports import AdapterError
from utils.vault import atomic

_WINDOW = 4096  # bytes; a rule never sees more at once, so that no content can make it slow
_OVERLAP = 512
_CHILD_TIMEOUT = 60.0
_PROJECT = Path(__file__).resolve().parent.parent.parent
_PLACEHOLDERS = frozenset({b"password", b"passwd", b"pass", b"pwd", b"pw", b"secret", b"token", b"xxx", b"xxxx"})
_READABLE = re.compile(rb"[\t\n\r\x20-\x7e]{8,}")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Rule:
    """What a pattern finds."""

    kind: str
    pattern: re.Pattern[bytes]


_loaded: dict[str, tuple[Rule, ...]] = {}
_loading = threading.Lock()


class SecretScan:
    """The port `SecretScanner`. `seconds` and `seconds_per_mib` bound the time that one content may take."""

    def __init__(self, state_dir: Path, *, seconds: float = 10.0, seconds_per_mib: float = 0.5) -> None:
        self._file = state_dir / "secret_rules.json"
        self._seconds = seconds
        self._per_mib = seconds_per_mib

    def find(self, data: bytes, *, allow: bool = False) -> Refusal | None:
        """A secret in `data`, named by its kind and never by its value; or None.

        `allow`: a line marked `pragma: allowlist secret` (or the one after `pragma: allowlist nextline secret`) passes.
        Content that takes too long is refused. Raises `AdapterError` where the scanner is missing or broken.
        """
        rules = self._rules()
        deadline = time.monotonic() + self._seconds + self._per_mib * len(data) / 1048576
        views = list(_views(data))
        for view in views:
            own = (kind for kind, at in sync_rules.secrets_in(view) if not (allow and _is_allowed(view, at)))
            found = next(own, None)
            text = _strings(view) if _is_binary(views[0]) else view
            for start, end in _windows(text) if found is None else ():
                found = _search(rules, text, start, end, allow)
                if found is not None:
                    break
                if time.monotonic() > deadline:
                    return Refusal("it could not be searched for secrets in a reasonable time", "CRITICAL")
            if found is not None:
                return Refusal(f"it seems to hold {found}", "CRITICAL")
        return None

    def _rules(self) -> tuple[Rule, ...]:
        stamp = _stamp()
        with _loading:
            if stamp not in _loaded:
                _loaded[stamp] = self._read(stamp) or self._collect(stamp)
            return _loaded[stamp]

    def _read(self, stamp: str) -> tuple[Rule, ...] | None:
        """The rules as an earlier process wrote them; None where it did not, or for another version."""
        try:
            value = json.loads(self._file.read_bytes())
            return _compiled(value["rules"]) if value["stamp"] == stamp else None
        except (OSError, ValueError, KeyError, TypeError, re.error):
            return None  # it is but a copy: made anew

    def _collect(self, stamp: str) -> tuple[Rule, ...]:
        command = [sys.executable, "-m", "utils.adapters.secret_rules"]
        try:
            done = subprocess.run(command, cwd=_PROJECT, capture_output=True, timeout=_CHILD_TIMEOUT, check=True)
            value = json.loads(done.stdout)
            rules = _compiled(value)
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, re.error) as error:
            said = getattr(error, "stderr", None) or b""
            reason = said.decode("utf-8", "replace").strip().rpartition("\n")[2] or str(error)
            raise AdapterError(_closed(f"does not work ({reason})"), retry=False) from error
        atomic.write(self._file, json.dumps({"stamp": stamp, "rules": value}).encode(), mode=0o600)
        return rules


def _closed(why: str) -> str:
    return (
        f"the secret scanner detect-secrets {why}, so nothing can travel: run `{python()} -m pip install"
        " -r requirements.txt`"
    )


def _stamp() -> str:
    """Tells one installed version of the scanner from another, and our choice of its rules from a later one.

    Raises `AdapterError` where none is installed.
    """
    spec = importlib.util.find_spec("detect_secrets")  # finds it without loading it
    if spec is None or spec.origin is None:
        raise AdapterError(_closed("is not installed"), retry=False)
    places = (Path(spec.origin).with_name("__version__.py"), Path(__file__).with_name("secret_rules.py"))
    try:
        return " ".join(f"{place}:{place.stat().st_mtime_ns}" for place in places)
    except OSError as error:
        raise AdapterError(_closed(f"is damaged ({error})"), retry=False) from error


def _compiled(rules: list[dict[str, Any]]) -> tuple[Rule, ...]:
    if not rules:
        raise ValueError("no rules")
    return tuple(Rule(rule["kind"], re.compile(rule["pattern"].encode(), rule["flags"])) for rule in rules)


def _search(rules: tuple[Rule, ...], text: bytes, start: int, end: int, allow: bool) -> str | None:
    for rule in rules:
        for match in rule.pattern.finditer(text, start, end):
            is_placeholder = bool(match.re.groups) and (match[match.re.groups] or b"").lower() in _PLACEHOLDERS
            if not is_placeholder and not (allow and _is_allowed(text, match.start())):
                return rule.kind
    return None


def _windows(text: bytes) -> Iterator[tuple[int, int]]:
    """Pieces of the text that end with a line where they can, and overlap where a line is longer than a piece."""
    start = 0
    while start < len(text):
        end = min(start + _WINDOW, len(text))
        following = end
        if end < len(text):
            newline = text.rfind(b"\n", start, end) + 1
            end, following = (newline, newline) if newline > start else (end, end - _OVERLAP)
        yield start, end
        start = following


_ALLOWED = b"pragma: allowlist secret"
_NEXT_ALLOWED = b"pragma: allowlist nextline secret"


def _is_allowed(text: bytes, at: int) -> bool:
    """Whether a person marked the line around `at`, or the one above it."""
    begin = text.rfind(b"\n", 0, at) + 1
    end = text.find(b"\n", at)
    above = text.rfind(b"\n", 0, max(begin - 1, 0)) + 1
    return _ALLOWED in text[begin : end if end >= 0 else None] or _NEXT_ALLOWED in text[above:begin]


def _views(data: bytes) -> Iterator[bytes]:
    """The bytes with a text in UTF-16 made readable for patterns of ASCII; and without NULs, which could hide one."""
    text = data.decode("utf-16", "replace").encode() if data.startswith(_UTF16) else data
    yield text
    if b"\0" in text:
        yield text.replace(b"\0", b"")


def _strings(binary: bytes) -> bytes:
    """What can be read in a binary file, a line for each piece: noise, as of a picture, gives hardly any."""
    return b"\n".join(_READABLE.findall(binary))


def _is_binary(text: bytes) -> bool:
    return b"\0" in text[:8192]
