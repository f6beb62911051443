"""What may travel between the nodes: names, kinds of file, secrets (S11). Pure.

A note on the secret scanner: `detect-secrets` was weighed and left out. Importing one of its plug-ins brings `requests`
and a YAML library (23 MB) into every process that syncs, and its line rules flag prose that merely speaks of keys. The
formats below are those whose owners made them recognisable; a hit is practically never a false one.

Whose paths are whose (S10) is told by `utils.core.policy`.
"""

from __future__ import annotations

import re
import unicodedata
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
_SECRET_TEXT = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("a private key", rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[23]:"),
        ("an AWS access key", rb"(?<![A-Za-z0-9/+=])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9/+=])"),
        ("a GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
        ("a GitLab token", rb"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("a Slack token", rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,}"),
        ("a Google API key", rb"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
        ("a Google OAuth secret", rb"\b(?:GOCSPX-[A-Za-z0-9_-]{28}|1//0[A-Za-z0-9_-]{40,})"),
        ("an Anthropic key", rb"\bsk-ant-[A-Za-z0-9_-]{32,}"),
        ("an OpenAI key", rb"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}"),
        ("a Stripe key", rb"\b[sr]k_live_[A-Za-z0-9]{20,}"),
        ("a SendGrid key", rb"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
        ("an npm token", rb"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a PyPI token", rb"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    )
)
_WINDOWS_NAMES = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$")
_IMPOSSIBLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LONGEST_NAME = 250  # bytes of one part; ext4 takes 255, and conflict copies need a few


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
    for part in PurePosixPath(path).parts:
        if part in ("..", ".") or re.sub(r"[ .]+$", "", part).lower() in (".git", "git~1"):
            return Refusal("the name is reserved for git or the system")
        if _IMPOSSIBLE.search(part) or part[-1] in ". " or _WINDOWS_NAMES.match(part):
            return Refusal("the name can't exist on Windows: please rename the file")
        if "�" in part or any("\udc80" <= char <= "\udcff" for char in part):
            return Refusal("the name is not UTF-8: please rename the file")
        if len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
            return Refusal("the name is too long: please shorten it")
    name = path.rsplit("/", 1)[-1]
    if name in (".gitmodules", ".gitattributes", ".gitignore") and path not in ROOT_FILES:
        return Refusal("files that steer git are not synced")
    if _SECRET_NAMES.match(name) and name != ".env.example":
        return Refusal("the name says that it holds a secret", "CRITICAL")
    return None


def harmless(path: str) -> str:
    """A path as `path`, with every part changed that `name_refusal` would refuse. Most paths stay as they are."""
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
    if size > largest and not is_log(path):
        return Refusal(f"{size / 1048576:.1f} MB is more than SYNC_MAX_FILE_MB allows ({largest // 1048576} MB)")
    return None


def secret_in(data: bytes) -> Refusal | None:
    """A secret in a file's bytes, named by its kind and never by its value; or None."""
    found = next((name for name, pattern in _SECRET_TEXT if pattern.search(data)), None)
    return Refusal(f"it seems to hold {found}", "CRITICAL") if found else None


def fold(path: str) -> str:
    """Equal for names that overwrite each other on Windows or macOS (case, Unicode composition)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
