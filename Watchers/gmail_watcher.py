"""Mail in: reads the mailbox, makes tasks, plans and drafts. `python -m Watchers.gmail_watcher`

The name is the user's; the mailbox may be Gmail, any IMAP server, or a Maildir (`MAIL_PROVIDER`).
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.daemon import Stop, Worker, run


class GmailWatcher(Worker):
    """One cycle takes in what is new and works off what waits; new mail wakes it."""

    name = "gmail_watcher"
    description = "Reads new mail; makes tasks, plans and drafts for approval."

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.interval = float(services.settings.mail_poll_seconds)
        self._tasks = services.layout.folder(Stage.NEEDS_ACTION, domain="email")
        self._signals = services.layout.signal(services.settings.agent_name).parent
        self._zones_at = 0

    def start(self, stop: Stop) -> None:
        """Finish first what was cut off when a process of this node was killed."""
        self.services.claims.repair()

    def run_cycle(self, now: datetime) -> str:
        """Take in mail and draft; "passive: …" where the other zone is the active one."""
        self._zones_at = _changed_at(self._signals)  # before the look: a change during it must wake us
        return self.services.intake.run(now)

    def wait(self, seconds: float, stop: Stop) -> None:
        """Until there is new mail, a task is put into our folder, the zones change, or `seconds` have passed."""
        before = (_changed_at(self._tasks), self._zones_at)

        def changed() -> bool:
            return (_changed_at(self._tasks), _changed_at(self._signals)) != before

        self.services.mailbox.wait(seconds, lambda: stop() or changed())


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def main() -> int:
    """Run until told to stop; returns the exit code."""
    return run(GmailWatcher)


if __name__ == "__main__":
    sys.exit(main())
