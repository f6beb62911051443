"""Whether anything changed in folders: watchdog's observer, behind two calls. watchdog is imported late."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def watch(folders: Iterable[Path], changed: Callable[[Path], None], *, recursive: bool = True) -> Any:
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
            observer.schedule(Tell(), str(folder), recursive=recursive)
        observer.start()
    except OSError as error:
        log.warning("cannot watch folders (%s); looking at them from time to time instead", error)
        return None
    return observer


def watch_node(root: Path, state_dir: Path, woken: Callable[[], None]) -> Callable[[], None]:
    """Call `woken` (in another thread) when something may have changed in a vault or right in its node's `STATE_DIR`.

    What git stores is no change. The answer ends the watch. Two queues of the system, however many folders there are.
    """
    objects = root / ".git" / "objects"

    def saw(path: Path) -> None:
        if objects not in path.parents:
            woken()

    observers = [watch([root], saw), watch([state_dir], saw, recursive=False)]

    def end() -> None:
        for observer in filter(None, observers):
            observer.stop()
        for observer in filter(None, observers):
            observer.join(2)

    return end


class QuietVault:
    """Knows whether a vault's notes changed since a moment; `.git` is not watched."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changes = 0
        self._watched: dict[Path, Any] = {}

    def mark(self) -> int:
        """This moment. A folder that is new at the top is watched from now on: its coming was a change."""
        if self._root not in self._watched:
            self._watched[self._root] = watch([self._root], self._saw, recursive=False)
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name != ".git" and folder not in self._watched and folder.is_dir() and not folder.is_symlink():
                self._watched[folder] = watch([folder], self._saw)
        return self._changes

    def since(self, mark: int) -> bool:
        """Whether surely nothing changed since `mark`. Where not all can be watched: never."""
        alive = [observer is not None and observer.is_alive() for observer in self._watched.values()]
        return bool(alive) and all(alive) and mark == self._changes

    def close(self) -> None:
        """Watch no longer."""
        for observer in filter(None, self._watched.values()):
            observer.stop()
        for observer in filter(None, self._watched.values()):
            observer.join(2)
        self._watched = {}

    def _saw(self, path: Path) -> None:
        if path != self._root / ".git":
            self._changes += 1
