"""Approved work out: notes what the human decides, verifies it, executes it once through MCP, files the result.

A call may last minutes. So what is approved is carried out in a thread of its own: decisions are noted and followed,
and `Dashboard.md` is kept up to date, meanwhile.
"""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from pathlib import Path

from utils.bootstrap import Services
from utils.core.commands import elsewhere
from utils.core.routing import LOCAL
from utils.core.stages import Stage
from utils.daemon import Stop, Worker, run
from utils.execution.beside import PATIENCE, Beside
from utils.execution.executor import draft_only_answer

log = logging.getLogger("approval_watcher")


class ApprovalWatcher(Worker):
    """Watches where people decide, and `Updates/`. A draft-only node leaves all where it is."""

    name = "approval_watcher"
    description = "Execute what the human approved, once. Does nothing where AGENT_MODE is draft_only."
    interval = 30.0
    patience = PATIENCE

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._looked = services.clock.now()  # when the last cycle began
        self._beside: Beside | None = None  # None: `--once` waits for all that it began

    def folders(self) -> list[Path]:
        """Where the human's decisions show. Of `Updates/` the whole: its folder of approvals may come and go."""
        layout = self.services.layout
        stages = (Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED)
        return [*(layout.folder(stage) for stage in stages), layout.updates]

    def start(self, stop: Stop) -> None:
        """Say at each start what is risky; let a waiting call end when we have to leave."""
        settings = self.services.settings
        if settings.draft_only:
            return
        if settings.zones.remote_approvals == "trust":
            self.services.alerts.send(
                "WARNING",
                "remote_approvals is 'trust'",
                "Whatever a sync puts into Approved/ is executed (except payments and invoices), whoever put it there. "
                'Set "remote_approvals": "signed" in zones.json to have it confirmed here.',
                source=self.name,
            )
        if settings.unsigned_commits == "accept":
            self.services.alerts.send(
                "WARNING",
                "UNSIGNED_COMMITS is 'accept'",
                "Whoever can push to the vault's remote passes for a person, whose notes are believed. Enrol the keys "
                f"of your devices instead: {elsewhere('keys enrol --person NAME KEY')}",
                source=self.name,
            )
        self.services.tools.stopped = stop
        self._beside = Beside(self.services.executor.run, stop.wake, self.patience)

    def wait(self, seconds: float, stop: Stop) -> None:
        """Until the next cycle is due, what the last one held back may go on, or what was still being written rests."""
        if not self.services.settings.draft_only:
            now = self.services.clock.now()
            for due in (self.services.brakes.next_look(self._looked), self.services.approvals.next_look()):
                seconds = min(seconds, (due - now).total_seconds()) if due else seconds
        stop.wait(seconds)

    def run_cycle(self, now: datetime) -> str:
        """Note decisions, execute what is approved; "sent 1", "carrying out", "idle"."""
        self._looked = now
        if self.services.settings.draft_only:
            answer = draft_only_answer(self.services.layout)
        else:
            self.services.approvals.observe()
            answer = (self._beside or self.services.executor).run()
            if self._beside is None or not self._beside.is_at_work:
                self.services.tools.close_idle()
        return ", ".join(filter(None, (answer, self._tell_in_the_vault())))

    def close(self) -> None:
        """A call that is under way was told to end by `tools.stopped`; its server finishes what it does."""
        if self._beside is not None:
            self._beside.close()

    def _tell_in_the_vault(self) -> str:
        """Bring `Dashboard.md` up to date, on Local alone (S10). Whatever is wrong with it holds nothing else up."""
        services = self.services
        if services.settings.agent_name != LOCAL:
            return ""
        try:
            return services.dashboard_note.refresh()
        except Exception as error:
            log.exception("%s could not be brought up to date", services.layout.dashboard.name)
            words = f"{type(error).__name__}: {error}"
            services.alerts.send("WARNING", "Dashboard.md is not kept up to date", words, source=self.name)
            return "Dashboard.md not written"


def main() -> int:
    """Run the approval watcher."""
    return run(ApprovalWatcher)


if __name__ == "__main__":
    sys.exit(main())
