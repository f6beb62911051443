"""What may travel between the nodes: names, kinds of file, secrets (S11). Pure.

Whose paths are whose (S10) is told by `utils.core.policy`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

# fmt: off
TYPES = frozenset({
    ".md", ".json", ".jsonl", ".csv", ".txt", ".eml", ".ics", ".base", ".canvas",
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf", ".doc", ".docx",
    ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".odp", ".rtf",
})
# fmt: on
#: Files without such an ending that belong to every vault, at its root.
ROOT_FILES = frozenset({".vault", ".gitignore", ".gitattributes"})
KEEP = ".gitkeep"
#: Seen, not synced, and nothing to tell anybody about.
_IGNORED = re.compile(
    r"(^|/)(\.tmp-[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini|[^/]*~|[^/]*\.swp|[^/]*\.tmp|\.trash(/.*)?|\.git(/.*)?)$"
    r"|^\.obsidian/(workspace[^/]*|cache|(plugins|themes|snippets)/.*|[^/]*\.(?!json$)[^/.]*)$"
    r"|^Logs/health/"
)
_SECRET_NAMES = re.compile(
    r"(?i)^(\.env(\..+)?|.*\.env|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.git-credentials|\.htpasswd"
    r"|(client_)?(token|secret|credential)s?([._-].*)?\.json|.*[._-](token|credential|secret)s?\.json"
    r"|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|gpg|asc)"
    r"|id_(rsa|dsa|ecdsa|ed25519)(\..*)?|cookies?(\.(txt|json|db|sqlite))?|login data)$"
)
#: Formats that the maintained scanner (`utils.adapters.secret_scan`) lacks, and private keys also in binary files.
_SECRET_TEXT = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("a private key", rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]:"),
        ("a private key", rb"\bAGE-SECRET-KEY-1[0-9A-Z]{58}"),
        ("a GitHub token", rb"\bgithub_pat_[A-Za-z0-9_]{60,}"),
        ("a Slack token", rb"\bx(?:oxe|oxe\.xox[bp]|app)-[A-Za-z0-9-]{20,}"),
        ("a Google API key", rb"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
        ("a Google OAuth secret", rb"\b(?:GOCSPX-[A-Za-z0-9_-]{28}|1//0[A-Za-z0-9_-]{40,})"),
        ("an Anthropic key", rb"\bsk-ant-[A-Za-z0-9_-]{32,}"),
        ("an OpenAI key", rb"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,300}T3BlbkFJ[A-Za-z0-9_-]{20,}"),
        ("an npm token", rb"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a Hugging Face token", rb"\bhf_[A-Za-z]{34}\b"),
        ("a DigitalOcean token", rb"\bdo[opr]_v1_[0-9a-f]{64}\b"),
        ("a Shopify token", rb"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
        ("a Twilio API key", rb"\bSK[0-9a-f]{32}\b"),
    )
)
_WINDOWS_NAMES = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$")
_IMPOSSIBLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LARGEST_LOG = 95 * 1048576  # bytes; git hosts refuse 100 MiB
_MANY = 10  # notes; fewer may go without a question
LONGEST_NAME = 250  # bytes of one part; ext4 takes 255, and conflict copies need a few
_LONGEST_PATH = 1000  # bytes; macOS takes 1024 and Linux 4096 for the whole, vault and copies' folder included


@dataclass(frozen=True)
class Refusal:
    """Why a file is not synced. `level` is the alert's, or None where nobody needs to be told."""

    reason: str
    level: str | None = "WARNING"


def is_ignored(path: str) -> bool:
    """Whether `path` is of no interest to the other node: editors' and systems' own files."""
    return _IGNORED.search(path) is not None


def is_log(path: str) -> bool:
    """Whether `path` is an append-only log, united line by line instead of replaced."""
    return path.endswith(".jsonl")


def name_refusal(path: str) -> Refusal | None:
    """Why no file of this name travels in either direction, or None: what git or another file system would misread."""
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        return Refusal("the path is too long: please shorten it")
    for part in path.split("/"):  # as git has it: a forged tree may hold ".", "..", or a name that is empty
        if part in ("", ".", "..") or re.sub(r"[ .]+$", "", part).lower() in (".git", "git~1"):
            return Refusal("the name is reserved for git or the system")
        if _IMPOSSIBLE.search(part) or part[-1] in ". " or _WINDOWS_NAMES.match(part):
            return Refusal("the name can't exist on Windows: please rename the file")
        if "�" in part or any("\udc80" <= char <= "\udcff" for char in part):
            return Refusal("the name is not UTF-8: please rename the file")
        if len(part.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
            return Refusal("the name is too long: please shorten it")
    name = path.rsplit("/", 1)[-1]
    if name in (".gitmodules", ".gitattributes", ".gitignore") and path not in ROOT_FILES:
        return Refusal("files that steer git are not synced")
    if _SECRET_NAMES.match(name) and name != ".env.example":
        text = "the name says that it holds a secret: keep it outside the vault, or, if it holds none, rename it"
        return Refusal(text, "CRITICAL")
    return None


def harmless(path: str) -> str:
    """A path as `path`, with every part changed that `name_refusal` would refuse. Most paths stay as they are."""
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = f"long-{digest}/{path.rpartition('/')[2]}"
    return "/".join(_harmless(part) for part in path.split("/"))


def _harmless(part: str) -> str:
    if name_refusal(part) is None:
        return part
    text = _IMPOSSIBLE.sub("_", "".join("_" if "\udc80" <= char <= "\udcff" or char == "�" else char for char in part))
    text = text.encode()[:200].decode("utf-8", "ignore").rstrip(" .")
    return f"kept-{text}" if name_refusal(text or ".") is not None else text


def kind_refusal(path: str, size: int, largest: int) -> Refusal | None:
    """Why a file of this kind or size (bytes) is not synced, or None."""
    name = path.rsplit("/", 1)[-1]
    known = path in ROOT_FILES or name == KEEP or PurePosixPath(name).suffix.lower() in TYPES
    if not known:
        return Refusal("files of this type are not synced", None)
    if is_log(path):
        if size > _LARGEST_LOG:
            return Refusal(f"a log of {size / 1048576:.0f} MB is too large for git hosts: please move old lines away")
    elif size > largest:
        return Refusal(f"{size / 1048576:.1f} MB is more than SYNC_MAX_FILE_MB allows ({largest // 1048576} MB)")
    return None


def mass_deletion(lost: Iterable[str], there: Callable[[], Iterable[str]]) -> str | None:
    """How much goes where the loss of the files `lost` looks like a slip, or None: ten notes and more, and more than
    half of all notes among `there` (asked only if need be). Logs, news, agents' reasons and plans don't count, nor what
    a vault has of forms and views from its first day: they would make few notes pass for less than half."""
    count = sum(map(_is_note, lost))
    if count < _MANY or count * 2 <= (notes := sum(map(_is_note, there()))):
        return None
    return f"{count} of {notes} notes"


def _is_note(path: str) -> bool:
    return not path.startswith(("Logs/", "Signals/", "Updates/", "Templates/", ".obsidian/")) and not path.endswith(
        (KEEP, ".reason.md", ".plan.md", ".base")
    )


def secrets_in(data: bytes) -> Iterator[tuple[str, int]]:
    """What of our own list is in a file's bytes: its kind and where it begins."""
    for kind, pattern in _SECRET_TEXT:
        yield from ((kind, match.start()) for match in pattern.finditer(data))


def fold(path: str) -> str:
    """Equal for names that overwrite each other on Windows or macOS (case, Unicode composition)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
