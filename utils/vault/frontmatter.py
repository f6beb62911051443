"""The one parser and the one writer of Markdown with YAML front matter.

YAML 1.2 by ruamel.yaml in round-trip mode, so that a person's keys, order and comments survive. Times stay strings
(Obsidian writes them unquoted), and every string that is text survives a round trip exactly.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import merge_attrib
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import ScalarString

_OPENING = re.compile(r"\A\ufeff?---[ \t]*\r?\n")
#: A line `---` alone is a rule, too, under which a note may begin.
_MEANT = re.compile(r"\A\ufeff?---[ \t]*\r?\n[^\n]*:")
_CLOSING = re.compile(r"^---[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_PLAIN = re.compile(r"[\x20-\x7e\u00a1-\u1fff\u2070-\ud7ff\uf900-\ufdcf\ufdf0-\ufdff\U0001f300-\U0001faff]*\Z")
#: Plain in YAML 1.2, something else in YAML 1.1, which other tools still read.
_YAML_1_1_WORDS = frozenset(["y", "yes", "n", "no", "on", "off", "true", "false", "null", "~"])
#: Another line break than LF and CRLF: YAML readers, editors and people disagree on what is a line then. What
#: `render` writes has them as escapes only.
_ODD_BREAK = re.compile(r"\r(?!\n)|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
#: What a person's or our own header never reaches; a hostile one takes about a second at most to parse or refuse.
MAX_HEADER = 64 * 1024  # characters
_TOO_LARGE = f"the front matter is larger than {MAX_HEADER // 1024} KiB"
MAX_NODES = 5_000
MAX_DEPTH = 20
MAX_NUMBER_BITS = 128


class InvalidFrontMatter(ValueError):
    """The text has no front matter that can be read; the message says what is wrong and where."""

    def __init__(self, message: str) -> None:
        super().__init__(message.encode(errors="backslashreplace").decode())  # it may quote what is no text


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


class _Composer(Composer):
    """Refuses what a note's properties don't need, while they are read: one pass, and no work on what comes after."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As the parent's, bounded. Anchors can make a small file huge, tags can name Python objects."""
        event = self.parser.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise InvalidFrontMatter("anchors and aliases (&, *) are not allowed in front matter")
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag) != "!":
            raise InvalidFrontMatter(f"the tag {str(tag)[:80]} is not allowed in front matter")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidFrontMatter(f"the front matter has more than {MAX_NODES} keys and values")
        return super().compose_node(parent, index)


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
    yaml.Composer = _Composer
    yaml.max_depth = MAX_DEPTH
    yaml.allow_unicode = True
    yaml.width = 1_000_000
    return yaml


def parse(text: str) -> tuple[dict[str, Any], str]:
    """`(front matter, body)` of a Markdown text. The mapping keeps comments and order for `render`.

    Raises `InvalidFrontMatter` where there is none, where it is not a mapping, where the YAML is broken, and where an
    escape in it names what `render` could not write again: a lone surrogate, or NUL.
    """
    opening = _OPENING.match(text)
    if opening is None:
        raise InvalidFrontMatter("the file does not begin with front matter (a line '---')")
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        raise InvalidFrontMatter("the front matter is not closed by a line '---'")
    header = text[opening.end() : closing.start()]
    if len(header) > MAX_HEADER:
        raise InvalidFrontMatter(_TOO_LARGE)
    odd = _ODD_BREAK.search(header)
    if odd is not None:
        line = header.count("\n", 0, odd.start()) + 2
        raise InvalidFrontMatter(
            f"the front matter has an unusual line break (U+{ord(odd[0]):04X}) in line {line}: remove it, or write "
            'it as an escape in double quotes ("\\r", "\\u2028")'
        )
    try:
        meta = _yaml().load(header)
        if isinstance(meta, dict):
            _refuse_cleverness(meta)
            check_texts(meta)
    except InvalidFrontMatter:
        raise
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark is not None else ""
        raise InvalidFrontMatter(f"broken YAML{where}: {getattr(error, 'problem', None) or 'cannot be read'}") from None
    except (ValueError, RecursionError, TypeError) as error:  # TypeError: a list as a key, which no mapping here takes
        raise InvalidFrontMatter(f"broken YAML: {error}") from None
    if not isinstance(meta, dict):
        raise InvalidFrontMatter("the front matter is not a list of 'key: value' lines")
    return meta, text[closing.end() :]


def is_meant(text: str) -> bool:
    """Whether a text seems to begin with front matter, be it broken: a line `---` and something like a property."""
    return _MEANT.match(text) is not None


def render(meta: Mapping[str, Any], body: str) -> str:
    """Markdown text of `meta` and `body`; `parse` gives both back exactly.

    Raises `InvalidFrontMatter` for text that no UTF-8 file of words can hold, NUL and lone surrogates, and for front
    matter that is too large to be read again.
    """
    check_texts(meta)
    _check_text(body, "body")
    buffer = io.StringIO()
    _yaml().dump(dict(meta) if not isinstance(meta, dict) else meta, buffer)
    header = buffer.getvalue()
    if len(header) > MAX_HEADER:
        raise InvalidFrontMatter(_TOO_LARGE)
    return f"---\n{header}---\n{body}"


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


def _refuse_cleverness(value: Any) -> None:
    """Merge keys hide what a file says; keys that are lists, endless numbers and what is none no reader expects."""
    if isinstance(value, dict):
        if getattr(value, merge_attrib, None):
            raise InvalidFrontMatter("merge keys (<<) are not allowed in front matter")
        if any(not isinstance(key, (str, int, float, type(None))) for key in value):
            raise InvalidFrontMatter("a key in the front matter is not a word")
        for key, item in value.items():
            _refuse_cleverness(key)
            _refuse_cleverness(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_cleverness(item)
    elif isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise InvalidFrontMatter("a number in the front matter is too large: put it in quotes if it is a text")
    elif isinstance(value, float) and not math.isfinite(value):  # JSON has no such number (RFC 8259, §6)
        raise InvalidFrontMatter("a number in the front matter is none (.nan, .inf): put it in quotes if it is a text")


def check_texts(value: Any, where: str = "front matter") -> None:
    """Raise `InvalidFrontMatter` where a text in `value`, at any depth, is none that a file can hold."""
    for place, text in _strings(value, where):
        _check_text(text, place)


def _check_text(value: str, where: str) -> None:
    if "\0" in value:
        raise InvalidFrontMatter(f"{where} holds a NUL character, which no text file can")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFrontMatter(f"{where} holds a lone surrogate, which is no character") from None


def _strings(value: Any, where: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(where, value)]
    if isinstance(value, Mapping):
        named = ((key, item, f"'{str(key)[:80]}'") for key, item in value.items())
        return [pair for key, item, name in named for pair in _strings(key, where) + _strings(item, name)]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _strings(item, where)]
    return []
