"""Text of mails: charsets, harmless characters, HTML, quoted history. Pure, bounded in time, raises for no input."""

from __future__ import annotations

import re

MAX_TEXT = 200_000  # characters of a mail's text that are kept
MAX_NEW = 6_000  # characters looked at for what is new in a reply
MAX_HTML = 500_000  # characters of HTML that are rendered

_ALMOST_ASCII = frozenset({"", "ascii", "us-ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"})
#: Python calls these text encodings, but they are no charset of a mail, and some are slow on purpose-made input.
_NO_CHARSET = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NOISE = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


def decode(data: bytes, charset: str) -> str:
    """Bytes as text: the declared charset, then UTF-8, then windows-1252, the usual truth behind a lying label."""
    declared = charset.strip().strip("\"'").lower().replace("_", "-")
    # UTF-8 under a Latin label is far more often a wrong label than meant: such byte runs make no Latin words.
    order = ["utf-8", declared] if declared in _ALMOST_ASCII else [declared, "utf-8"]
    for name in order:
        if not name or name.replace("-", "_") in _NO_CHARSET:
            continue
        try:
            return data.decode(name)
        except (LookupError, ValueError):
            continue
    return data.decode("windows-1252", "replace")


def clean(text: str) -> str:
    """Text that files, terminals and YAML can hold: `\\n` line ends, no NUL, no other controls, no lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n").replace("\x0c", "\n")
    return _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")


def is_noise(text: str) -> bool:
    """Whether decoded text is more likely bytes of something else: a twentieth of it is controls or undecodable.

    NULs don't count, for UTF-16 under a wrong label has many and reads well without; nor ESC, which Japanese mail has.
    """
    noise = len(_NOISE.findall(text))
    return noise >= 8 and noise * 20 > len(text) - text.count("\0")


def one_line(text: str, limit: int = 1000) -> str:
    """`clean` text on one line, white space collapsed, cut at `limit` characters."""
    return " ".join(clean(text[: 4 * limit]).split())[:limit]


def bounded(text: str) -> tuple[str, bool]:
    """`(text, whether it was cut)`: at most `MAX_TEXT` characters, outer blank lines and trailing spaces gone."""
    cut = len(text) > MAX_TEXT
    lines = [line.rstrip() for line in text[:MAX_TEXT].strip("\n").split("\n")]
    return "\n".join(lines).strip("\n"), cut


def from_html(html: str) -> str:
    """HTML as readable text. What no renderer takes is stripped of its tags by a plain rule."""
    html = clean(html[:MAX_HTML])
    # An XML declaration with a charset makes lxml refuse a str; comments can hold conditional junk of Outlook's.
    html = re.sub(r"\A\s*<\?xml[^>]{0,200}\?>", "", html)
    if not html.strip():
        return ""
    try:
        from inscriptis import get_text
        from inscriptis.model.config import ParserConfig

        text = get_text(html, ParserConfig(display_links=False, display_images=False))
    except Exception:  # any parser error: the mail must be readable all the same
        text = re.sub(r"<[^<>]{0,2000}>", " ", html)
    return re.sub(r"\n{3,}", "\n\n", clean(text).replace("\xa0", " "))


def new_part(text: str) -> str:
    """What the sender wrote now, without quoted history and signature; the whole text where nothing can be told apart.

    The library's patterns can take minutes on purpose-made lines. Short lines, few blank ones and a bounded length
    keep them fast; so the answer may have other line breaks than `text`.
    """
    prepared = _fold(text)
    try:
        from mailparser_reply import EmailReplyParser

        replies = EmailReplyParser(languages=["en", "de", "fr", "es", "it", "nl"]).read(prepared).replies
        first = next((reply.body.strip() or reply.content.strip() for reply in replies if reply.content.strip()), "")
    except Exception:  # the text as it is will do
        first = ""
    own = [line for line in (first or prepared).split("\n") if not line.startswith(">")]
    return "\n".join(own).strip() or prepared.strip()


def _fold(text: str) -> str:
    lines: list[str] = []
    length = 0
    for line in text[: 4 * MAX_NEW].split("\n"):
        words = " ".join(line.split())
        if not words and lines and not lines[-1]:
            continue
        while len(words) > 160:
            at = words.rfind(" ", 0, 160)
            at = at if at > 80 else 160
            lines.append(words[:at])
            length += at + 1
            words = words[at:].lstrip()
        lines.append(words)
        length += len(words) + 1
        if length >= MAX_NEW:
            break
    return "\n".join(lines)[:MAX_NEW]
