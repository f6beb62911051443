"""A request as a person edits it: its fields above its text, in a file that stays until it is in the request.

Whatever is wrong with what was written, and whatever ends the command (a crash, Ctrl-C, a request that was changed
meanwhile), the text stays in `STATE_DIR/edits/`, and one can go on with it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from utils.core.task import ApprovalRequest
from utils.vault import frontmatter

FIELDS = ("subject", "to", "cc", "bcc")
_BUILT_ON = 12  # digits of a sha256 in a file's name
_NAME = re.compile(rf"\.(?P<sha256>[0-9a-f]{{{_BUILT_ON}}})(?:-\d+)?\.md\Z")
_MAY_GO = ("cc", "bcc")  # whose line a person may take out: nobody gets a copy then


class Refused(Exception):
    """What was asked for is not done; the text says why. `kept`: where what a person wrote for it stays."""

    def __init__(self, reason: str, kept: Path | None = None) -> None:
        super().__init__(reason)
        self.kept = kept


class Sheet:
    """One file that a person writes into. `before`: its bytes as they were shown, None where all of it is theirs.
    `folder`: what lies elsewhere is their own file, and is not removed."""

    def __init__(self, path: Path, before: bytes | None, folder: Path) -> None:
        self.path = path
        self._before = before
        self._is_ours = path.absolute().parent == folder.absolute()

    @classmethod
    def begin(cls, folder: Path, request: ApprovalRequest, sha256: str) -> Sheet:
        """A new file with the fields and the text of this request, whose bytes have this hash."""
        return cls._make(
            folder, f"{request.id}.{sha256[:_BUILT_ON]}", frontmatter.write(_shown(request), request.draft + "\n")
        )

    @classmethod
    def keep(cls, folder: Path, request_id: str, sha256: str, data: bytes) -> Sheet:
        """A new file with what a person gave already."""
        return cls(cls._make(folder, f"{request_id}.{sha256[:_BUILT_ON]}", data).path, None, folder)

    def is_built_on(self, sha256: str) -> bool:
        """Whether this was written for a request with these bytes, as far as the file's name tells."""
        built_on = _NAME.search(self.path.name) if self._is_ours else None
        return built_on is None or sha256.startswith(built_on["sha256"])

    @classmethod
    def _make(cls, folder: Path, name: str, data: bytes) -> Sheet:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(1, 1000):
            path = folder / (f"{name}.md" if number == 1 else f"{name}-{number}.md")
            with suppress(FileExistsError):
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                    file.write(data)
                return cls(path, data, folder)
        raise Refused(f"{folder} holds a thousand texts for {name}: remove those you don't need")

    def open(self, undisturbed: Callable[[], AbstractContextManager[None]]) -> None:
        """Have the person write, in their editor. Raises `Refused`; `OSError` where the editor can't be started."""
        words = editor()
        if words is None:
            raise Refused("no editor is set: set EDITOR, or give the text by --draft-file")
        with undisturbed():  # Ctrl-C is the editor's
            try:
                code = subprocess.run([*shlex.split(words), str(self.path)], check=False).returncode
            except (FileNotFoundError, PermissionError, ValueError) as error:
                name = "VISUAL" if os.environ.get("VISUAL") else "EDITOR"
                raise Refused(
                    f"{name} is {words!r}, and that can't be started ({getattr(error, 'strerror', None) or error}):"
                    f" set it to your editor, as in `export {name}=nano`, or give the text by --draft-file"
                ) from None
        if code:
            raise Refused(f"the editor ended with exit code {code}: nothing was changed")

    def changes(self, request: ApprovalRequest) -> dict[str, Any]:
        """What differs from the request, as `Approvals.edit` takes it. Raises `Refused`, `OSError`."""
        try:
            meta, body = frontmatter.read(self.path.read_bytes())
        except frontmatter.InvalidFrontMatter as error:
            raise Refused(f"what you wrote can't be read ({error}): nothing was changed") from None
        unknown = ", ".join(str(name) for name in meta if name not in FIELDS)
        if unknown:
            raise Refused(f"{unknown}: can't be changed here; only {', '.join(FIELDS)} and the text")
        shown = _shown(request)
        missing = (
            [name for name in shown if name not in meta] if self._is_ours else []
        )  # their own file says what it changes
        if needed := ", ".join(name for name in missing if name not in _MAY_GO):
            raise Refused(f"{needed}: taken out, but a mail needs it; write what should stand there")
        meta |= {name: [] for name in missing}
        changes = {name: meta[name] for name in meta if meta[name] != shown.get(name)}
        draft = body.removesuffix("\n")
        return changes | ({"draft": draft} if draft != request.draft else {})

    def is_written(self) -> bool:
        """Whether a person's words are in it."""
        try:
            return self.path.read_bytes() != self._before
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        """Its words are in the request, or there are none."""
        if self._is_ours:
            self.path.unlink(missing_ok=True)


def kept(folder: Path, request_id: str) -> list[Path]:
    """What was written for a request earlier and is not in it."""
    return sorted(folder.glob(f"{request_id}*.md"))


def editor() -> str | None:
    """The person's editor, as a shell writes it."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or None


def _shown(request: ApprovalRequest) -> dict[str, Any]:
    return {name: request.fields[name] for name in FIELDS if name in request.fields}
