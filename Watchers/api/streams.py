"""The open event streams of a server: who listens, what each was told, and the look that finds out what changed.

No stream has a thread. The server's own loop writes to all of them (`write_due`), so none can use up the threads that
answer other requests; what a slow reader has not taken yet is not added to: it is told the sum later. One thread looks,
while anybody listens: an event of the file system only wakes it, and after a look it rests ten times that time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Protocol

from utils.core.task import format_time
from utils.tasks.versions import difference

MOST = 32
#: What a client waits before it comes again (ms).
RETRY = 3000
_COMMENT_SECONDS = 15.0
_STUCK_SECONDS = 60.0
_LOOK_SECONDS = 5.0  # where nothing wakes it
_SETTLE_SECONDS = 0.05  # of one change's several events
_REST = 10  # times the length of a look
_LEAST_REST = 0.25

COMMENT = ": \n\n"
Versions = Mapping[str, str]


class Reader(Protocol):
    """Who reads a stream."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads any more."""

    @property
    def is_behind(self) -> bool:
        """Whether not all that was written has left."""

    def write(self, text: str) -> None:
        """Send, without waiting."""

    def drop(self) -> None:
        """Close the connection, whatever it still holds."""


@dataclass(eq=False)
class _Stream:
    """One reader, what it was told, the first look that is newer than that, when something was last written, and since
    when not all of it has left."""

    reader: Reader
    told: Versions
    first_look: int
    written: float
    behind_since: float | None = None


class Streams:
    """All streams of one server. `open` may be called from any thread, `write_due` from the server's alone."""

    def __init__(
        self,
        versions: Callable[[], Versions],
        watch: Callable[[Callable[[], None]], Callable[[], None]],
        *,
        now: Callable[[], datetime],
        most: int = MOST,
    ) -> None:
        """`watch(woken)` begins to watch the disk, and answers how that ends."""
        self._versions = versions
        self._watch = watch
        self._now = now
        self._most = most
        self._lock = threading.Lock()
        self._streams: list[_Stream] = []
        self._latest: Versions = {}
        self._begun = self._done = 0  # looks
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._looker: threading.Thread | None = None
        self._changed: Callable[[], None] = lambda: None

    @property
    def is_full(self) -> bool:
        """Whether there are as many streams as there may be."""
        return len(self._streams) >= self._most

    def __len__(self) -> int:
        return len(self._streams)

    def versions(self) -> Versions:
        """How things stand now."""
        return self._versions()

    def event(self, name: str, told: Versions, all_: Versions) -> str:
        """An event as text (HTML Standard §9.2.6)."""
        number = blake2b(json.dumps(all_, sort_keys=True).encode(), digest_size=8).hexdigest()
        data = json.dumps({"at": format_time(self._now()), "versions": dict(told)})
        return f"id: {number}\nevent: {name}\ndata: {data}\n\n"

    def on_change(self, wake: Callable[[], None]) -> None:
        """`wake` is called (in another thread) when `write_due` has something to say."""
        self._changed = wake

    def open(self, reader: Reader, told: Versions) -> bool:
        """From now on `reader` is told what differs from `told`. False where there are too many, or all ends."""
        with self._lock:
            if self.is_full or self._ended.is_set():
                return False
            self._streams.append(_Stream(reader, told, self._begun + 1, time.monotonic()))
            if self._looker is None:
                self._looker = threading.Thread(target=self._look_on, name="event-streams", daemon=True)
                self._looker.start()
        self._woken.set()  # something may have changed since `told`
        return True

    def write_due(self) -> None:
        """Tell each reader what it does not know yet, or that the stream lives; forget who is gone. Never waits."""
        with self._lock:
            streams, latest, look = list(self._streams), self._latest, self._done
        now = time.monotonic()
        gone = [stream for stream in streams if not self._serve(stream, latest, look, now)]
        if gone:
            with self._lock:
                self._streams = [stream for stream in self._streams if stream not in gone]
            self._woken.set()  # nobody may be left to look for

    def _serve(self, stream: _Stream, latest: Versions, look: int, now: float) -> bool:
        """Whether the reader is still there."""
        reader = stream.reader
        if reader.is_gone:
            return False
        if reader.is_behind:
            stream.behind_since = stream.behind_since or now
            if now - stream.behind_since > _STUCK_SECONDS:
                reader.drop()
                return False
            return True
        stream.behind_since = None
        news = difference(stream.told, latest) if look >= stream.first_look else {}
        if news:
            reader.write(self.event("change", news, latest))
            stream.told, stream.written = latest, now
        elif now - stream.written >= _COMMENT_SECONDS:
            reader.write(COMMENT)
            stream.written = now
        return True

    def close(self) -> None:
        """End the look; no stream is opened any more. Who reads is cut off with the server's connections."""
        with self._lock:
            self._ended.set()
            looker = self._looker
        self._woken.set()
        if looker is not None:
            looker.join(1.0)

    def _look_on(self) -> None:
        """Look whenever something may have changed, until nobody listens."""
        unwatch = self._watch(self._woken.set)
        try:
            while self._is_wanted():
                self._woken.wait(_LOOK_SECONDS)
                self._ended.wait(_SETTLE_SECONDS)
                self._woken.clear()
                took = self._look()
                self._ended.wait(max(_LEAST_REST, _REST * took))
        finally:
            unwatch()

    def _look(self) -> float:
        """See how things stand; how long that took."""
        began = time.monotonic()
        with self._lock:
            self._begun += 1
        latest = self._versions()
        with self._lock:
            self._latest, self._done = latest, self._begun
            news = any(stream.told != latest for stream in self._streams)
        if news:
            self._changed()
        return time.monotonic() - began

    def _is_wanted(self) -> bool:
        """Whether to look once more; where not, the thread ends, and the next stream begins a new one."""
        with self._lock:
            wanted = bool(self._streams) and not self._ended.is_set()
            if not wanted:
                self._looker = None
        return wanted
