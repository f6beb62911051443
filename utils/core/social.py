"""Posts on social networks: the published limits of each provider, checked before a person is asked. Pure.

Sources: LinkedIn Posts and Images API, Graph API (Page feed and photos), Instagram content publishing, X API v2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from utils.core import attached, tweet
from utils.core.attached import Attached
from utils.core.task import ApprovalRequest, InvalidTask

_JPEG = {".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_PNG = {".png": "image/png"}
_GIF = {".gif": "image/gif"}
_WEBP = {".webp": "image/webp"}
#: What a file of a kind begins with; of WebP the bytes 8 to 12 count too.
_BEGINS = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


@dataclass(frozen=True)
class Limits:
    """What a provider takes. `characters` are UTF-16 units, as the providers count; 0: counted elsewhere."""

    provider: str
    characters: int
    alt: int
    kinds: Mapping[str, str]  # ending of the image's name → media type
    image_bytes: int
    link: bool = False
    image_needed: bool = False
    pixels: int = 0  # of an image, width × height; 0: any
    ratio: tuple[float, float] = (0.0, 0.0)  # of width to height; zeros: any
    width: int = 0  # of an image, at least


LIMITS: Mapping[str, Limits] = {
    # Images API: "total pixel count less than 36152320"; altText of at most 4086 characters. The 8 MiB are ours.
    "linkedin_post": Limits("linkedin", 3000, 4086, _JPEG | _PNG | _GIF, 8 * 2**20, link=True, pixels=36_152_319),
    # Page photos: at most 4 MB.
    "facebook_post": Limits("facebook", 63_206, 1000, _JPEG | _PNG | _GIF, 4 * 10**6, link=True),
    # IG User media: JPEG, 8 MB, between 4:5 and 1.91:1, at least 320 pixels wide.
    "instagram_post": Limits(
        "instagram", 2200, 1000, _JPEG, 8 * 10**6, image_needed=True, ratio=(0.8, 1.91), width=320
    ),
    # Media best practices: images of at most 5 MB. A GIF needs the chunked upload, which is for animations.
    "twitter_post": Limits("x", 0, 1000, _JPEG | _PNG | _WEBP, 5 * 10**6),
}
MAX_HASHTAGS, MAX_MENTIONS = 30, 20  # in an Instagram caption
_HASHTAG, _MENTION = re.compile(r"[#＃]\w+"), re.compile(r"(?<![\w@])[@＠][\w.]+")
_MAX_LINK = 2048


@dataclass(frozen=True)
class Image:
    """One image of the vault, frozen by its sha256, with the text for who can't see it."""

    file: Attached
    alt: str
    kind: str  # media type


@dataclass(frozen=True)
class Post:
    """What is to be published. `data` are the image's bytes."""

    text: str
    link: str = ""
    image: Image | None = None
    data: bytes = field(default=b"", repr=False)


def problems(request: ApprovalRequest) -> list[str]:
    """Why this request can't become a post, in plain sentences; empty where it can."""
    return _read(request)[1]


def post(request: ApprovalRequest) -> Post:
    """What the request asks to publish, without the image's bytes. Raises `InvalidTask` with all that is wrong."""
    found, wrong = _read(request)
    if wrong:
        raise InvalidTask(wrong)
    return found


def image_problems(action: str, image: Image, data: bytes, size: tuple[int, int]) -> list[str]:
    """Why the provider would not take these bytes; `size`: width and height in pixels, (-1, -1) where unknown."""
    limits, name = LIMITS[action], image.file.path
    begins = data.startswith(_BEGINS[image.kind]) and (image.kind != "image/webp" or data[8:12] == b"WEBP")
    if not begins or min(size) < 1:
        return [f"{name} is no image of the kind its name says"]
    found = []
    if len(data) > limits.image_bytes:
        found.append(f"{name} has {len(data)} bytes; {limits.provider} takes at most {limits.image_bytes}")
    width, height = size
    if limits.pixels and width * height > limits.pixels:
        found.append(f"{name} has {width} × {height} pixels; {limits.provider} takes at most {limits.pixels} in all")
    low, high = limits.ratio
    if high and not low <= width / height <= high:
        found.append(f"{name} is {width} × {height}: {limits.provider} takes what is between 4:5 and 1.91:1")
    if width < limits.width:
        found.append(f"{name} is {width} pixels wide; {limits.provider} takes at least {limits.width}")
    return found


def same_text(ours: str, theirs: str) -> bool:
    """Whether a provider's text is ours, but for line ends and blanks that it took away."""
    return _plain(ours) == _plain(theirs)


def clean(draft: str) -> str:
    """A draft as it is published: line ends of one kind, nothing around it (providers cut that off themselves)."""
    return draft.replace("\r\n", "\n").strip()


def is_link(value: object) -> bool:
    """Whether this is an address of a page that a browser would open as it is written."""
    if not isinstance(value, str) or len(value) > _MAX_LINK or not re.fullmatch(r"https?://[!-~]+", value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _read(request: ApprovalRequest) -> tuple[Post, list[str]]:
    limits, text = LIMITS[request.action], clean(request.draft)
    found: list[str] = []
    image = _image(request.fields.get("image"), limits, found)
    link = request.fields.get("link", "")
    if link and not is_link(link):
        found.append("'link' must be the address of a page, like https://example.org/news, in plain ASCII")
    if link and image is not None:
        found.append(f"a post on {limits.provider} has an image or a link, not both: put the link into the text")
    if limits.image_needed and request.fields.get("image") is None:
        found.append(f"a post on {limits.provider} needs an 'image'")
    if not text and image is None:
        found.append("the draft is empty")
    found += (
        tweet.problems(text) if request.action == "twitter_post" else _too_long("the draft", text, limits.characters)
    )
    if request.action == "instagram_post":
        found += _too_many(text)
    if "\r" in text:
        found.append("the draft holds a carriage return that is no line end: remove it, or put a line break there")
    return Post(text, str(link), image), found


def _image(value: Any, limits: Limits, found: list[str]) -> Image | None:
    """The image of a request, with what is wrong with it added to `found`."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) - {"path", "sha256", "alt"}:
        found.append("'image' needs 'path' and 'sha256', takes 'alt', and nothing else")
        return None
    files, wrong = attached.read({"attachments": [{name: value[name] for name in ("path", "sha256") if name in value}]})
    found += [problem.replace("attachment 1", "'image'") for problem in wrong]
    alt = value.get("alt", "")
    if not isinstance(alt, str) or "\n" in alt:
        found.append("'image': 'alt' must be one line of text")
    else:
        found += _too_long("'image': 'alt'", alt, limits.alt)
    if not files:
        return None
    kind = limits.kinds.get(PurePosixPath(files[0].path).suffix.lower(), "")
    if not kind:
        found.append(f"'image': {limits.provider} takes {', '.join(sorted(limits.kinds))}, not {files[0].path!r}")
    return Image(files[0], str(alt).strip(), kind)


def _too_long(what: str, text: str, most: int) -> list[str]:
    length = len(text.encode("utf-16-le", "surrogatepass")) // 2
    return [f"{what} has {length} characters; at most {most} are possible"] if most and length > most else []


def _too_many(text: str) -> list[str]:
    hashtags, mentions = len(_HASHTAG.findall(text)), len(_MENTION.findall(text))
    found = [f"{hashtags} hashtags; Instagram takes {MAX_HASHTAGS}"] if hashtags > MAX_HASHTAGS else []
    return found + ([f"{mentions} mentions; Instagram takes {MAX_MENTIONS}"] if mentions > MAX_MENTIONS else [])


def _plain(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.replace("\r\n", "\n").strip().split("\n")]
