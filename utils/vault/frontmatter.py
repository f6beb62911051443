"""The one parser and the one writer of Markdown with YAML front matter.

YAML 1.2 by ruamel.yaml in round-trip mode, so that a person's keys, order and comments survive. Times stay strings
(Obsidian writes them unquoted), and every string that is text survives a round trip exactly.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import ScalarString

_OPENING = re.compile(r"\A\ufeff?---[ \t]*\r?\n")
_CLOSING = re.compile(r"^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_PLAIN = re.compile(r"[\x20-\x7e\u00a1-\u1fff\u2070-\ud7ff\uf900-\ufdcf\ufdf0-\ufdff\U0001f300-\U0001faff]*\Z")
#: Plain in YAML 1.2, something else in YAML 1.1, which other tools still read.
_YAML_1_1_WORDS = frozenset(["y", "yes", "n", "no", "on", "off", "true", "false", "null", "~"])
MAX_HEADER = 256 * 1024


class InvalidFrontMatter(ValueError):
    """The text has no front matter that can be read; the message says what is wrong and where."""


class _Resolver(VersionedResolver):
    """YAML 1.2 without timestamps."""

    @property
    def versioned_resolver(self) -> Any:
        """As the parent's, with the timestamp tag left out."""
        resolvers = super().versioned_resolver
        return {
            first: [(tag, expression) for tag, expression in choices if not tag.endswith(":timestamp")]
            for first, choices in resolvers.items()
        }


class _Representer(RoundTripRepresenter):
    """Strings that could be misread are written in double quotes, escapes and all, on one line."""

    def represent_text(self, data: str) -> Any:
        """A plain scalar where that is safe for every YAML reader, else a double-quoted one."""
        safe = _PLAIN.match(data) and data.lower() not in _YAML_1_1_WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if safe else '"')


_Representer.add_representer(str, _Representer.represent_text)
for _kind in ScalarString.__subclasses__():
    _Representer.add_representer(_kind, lambda self, data: self.represent_text(str(data)))


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.Resolver = _Resolver
    yaml.Representer = _Representer
    yaml.allow_unicode = True
    yaml.width = 1_000_000
    return yaml


def parse(text: str) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of a Markdown text. The mapping keeps comments and order for `render`.

    Raises `InvalidFrontMatter` where there is none, where it is not a mapping, or where the YAML is broken.
    """
    opening = _OPENING.match(text)
    if opening is None:
        raise InvalidFrontMatter("the file does not begin with front matter (a line '---')")
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        raise InvalidFrontMatter("the front matter is not closed by a line '---'")
    header = text[opening.end() : closing.start()]
    if len(header) > MAX_HEADER:
        raise InvalidFrontMatter(f"the front matter is larger than {MAX_HEADER // 1024} KiB")
    try:
        for event in _yaml().parse(header):
            _refuse_cleverness(event)
        meta = _yaml().load(header)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark is not None else ""
        raise InvalidFrontMatter(f"broken YAML{where}: {getattr(error, 'problem', None) or 'cannot be read'}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidFrontMatter(f"broken YAML: {error}") from None
    if not isinstance(meta, dict):
        raise InvalidFrontMatter("the front matter is not a list of 'key: value' lines")
    return meta, text[closing.end() :]


def render(meta: Mapping[str, Any], body: str) -> str:
    """Markdown text of `meta` and `body`; `parse` gives both back exactly.

    Raises `InvalidFrontMatter` for text that no UTF-8 file of words can hold: NUL and lone surrogates.
    """
    for where, value in _strings(meta, "front matter"):
        _check_text(value, where)
    _check_text(body, "body")
    buffer = io.StringIO()
    _yaml().dump(dict(meta) if not isinstance(meta, dict) else meta, buffer)
    return f"---\n{buffer.getvalue()}---\n{body}"


def read(data: bytes) -> tuple[dict[str, Any], str]:
    """`parse` for a file's bytes; raises `InvalidFrontMatter` where they are not UTF-8 or hold a NUL."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidFrontMatter(f"the file is not UTF-8 (byte {error.start})") from None
    _check_text(text, "file")
    return parse(text)


def write(meta: Mapping[str, Any], body: str) -> bytes:
    """`render` as a file's bytes."""
    return render(meta, body).encode("utf-8")


def _refuse_cleverness(event: Any) -> None:
    """Anchors can make a small file huge, tags can name Python objects: neither belongs into a note's properties."""
    if getattr(event, "anchor", None) is not None:
        raise InvalidFrontMatter("anchors and aliases (&, *) are not allowed in front matter")
    tag = getattr(event, "tag", None)
    if tag is not None and str(tag) != "!":
        raise InvalidFrontMatter(f"the tag {tag} is not allowed in front matter")


def _check_text(value: str, where: str) -> None:
    if "\0" in value:
        raise InvalidFrontMatter(f"{where} holds a NUL character, which no text file can")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidFrontMatter(f"{where} holds a lone surrogate, which is no character")


def _strings(value: Any, where: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(where, value)]
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _strings(key, where) + _strings(item, f"'{key}'")]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _strings(item, where)]
    return []
