"""Whether anything changed in folders: watchdog's observer, behind two calls. watchdog is imported late."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def watch(folders: Iterable[Path], changed: Callable[[Path], None]) -> Any:
    """Call `changed` (in another thread) with each path that changes below `folders`, which are made where missing.

    Reading a file is no change. The observer, or None where the system can't watch: then one has to look.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Tell(FileSystemEventHandler):
        """Passes on what changes."""

        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write"):
                for path in filter(None, (event.src_path, event.dest_path)):
                    changed(Path(str(path)))

    observer = Observer()
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            observer.schedule(Tell(), str(folder), recursive=True)
        observer.start()
    except OSError as error:
        log.warning("cannot watch folders (%s); looking at them from time to time instead", error)
        return None
    return observer


class QuietVault:
    """Knows whether a vault's notes changed since a moment; what happens in `.git` is no change of a note."""

    def __init__(self, root: Path) -> None:
        self._git = root / ".git"
        self._changes = 0
        self._observer = watch([root], self._saw)

    def mark(self) -> int:
        """This moment."""
        return self._changes

    def since(self, mark: int) -> bool:
        """Whether surely nothing changed since `mark`. Where nothing can be watched: never."""
        return self._observer is not None and self._observer.is_alive() and mark == self._changes

    def close(self) -> None:
        """Watch no longer."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(2)

    def _saw(self, path: Path) -> None:
        if path != self._git and self._git not in path.parents:
            self._changes += 1
