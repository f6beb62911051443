"""Deliberate breaks of what the dashboard asks of the API, each with the test that must catch it."""

from __future__ import annotations

VERSIONS, STREAMS, SETTLING = "utils/tasks/versions.py", "Watchers/api/streams.py", "utils/sync/settling.py"
EVENTS, VERSIONED, CONFLICTS = "tests/test_api_events.py", "tests/test_versions.py", "tests/test_api_conflicts.py"
SHELVES, REMEMBERED = "utils/tasks/shelves.py", "tests/test_shelves.py"
ALERTS, SILENCES = "utils/alert_manager.py", "tests/test_silences.py"

#: (name, what it does, file, text, text instead, tests, which of them)
MUTANTS = (
    ("events-edit-unseen", "an edit in place is no change", VERSIONS,
     "seen = b\"%b\\0%d\\0%d\" % (os.fsencode(entry.path), status.st_mtime_ns, status.st_size)",
     "seen = os.fsencode(entry.path)", VERSIONED, "whenever"),
    ("events-time-unseen", "a request that comes back by itself is told to nobody", VERSIONS,
     "if known != lying or not 0 <= now - since < _LONGEST:", "if known != lying:", VERSIONED, "whenever"),
    ("events-logs-unseen", "what a log makes dirty is not told", VERSIONS,
     "*(layout.root / \"Logs\").iterdir()", "*()", VERSIONED, "whenever"),
    ("events-old-news", "a new reader is told what is older than its hello", STREAMS,
     "difference(stream.told, latest) if look >= stream.first_look else {}", "difference(stream.told, latest)",
     EVENTS, "newer_than"),
    ("events-pile-up", "what a slow reader has not taken is added to", STREAMS,
     "        if reader.is_behind:\n", "        if False:\n", EVENTS, "slow_reader"),
    ("events-pipelined", "a request on a stream's connection is answered into the stream", "Watchers/api/server.py",
     "return self.held_by is None and bool(super().received(data))", "return bool(super().received(data))",
     EVENTS, "never_answered"),
    ("take-unseen", "a version is taken over one that was not shown", SETTLING,
     "if (_sha256(current) if current is not None else None) != sha256:", "if False:", CONFLICTS, "only_what"),
    ("take-never-shown", "a version that came after one looked is taken", SETTLING,
     "if copy_sha256 not in (None, _sha256(data)):", "if False:", CONFLICTS, "copy_that_was_shown"),
    ("half-a-character", "a file's name that is no text breaks a page of the dashboard", "Watchers/api/operation.py",
     'if b"\\\\ud" in data:', "if False:", "tests/test_api_tasks.py", "breaks_no_answer"),
    ("take-and-lose", "what git does not know is lost when the other version is taken", SETTLING,
     "if known is not None and data in known:", "if True:", CONFLICTS, "kept_aside"),
    ("take-anywhere", "a forged copy writes where it likes", SETTLING,
     "        self._check(path)\n", "", CONFLICTS, "forged or decided or moved_on"),
    ("take-on-cloud", "the Cloud settles conflicts", "Watchers/api/vault.py",
     "    if services().settings.draft_only:\n", "    if False:\n", CONFLICTS, "two_nodes"),
    ("board-folder-unwatched", "what came into a folder since it was first read is not shown", SHELVES,
     "if shelf is None or shelf.changed != changed:", "if shelf is None:", REMEMBERED, "after_every_change"),
    ("board-young-folder", "of two changes at one time the second is not seen", SHELVES,
     "changed if settled else None", "changed", REMEMBERED, "read_once"),
    ("events-day-unwatched", "lines that a sync brought for a day that was read are not told", "utils/tasks/events.py",
     "if known is None or known[0] != stamp:", "if known is None:", REMEMBERED, "carried"),
    ("events-escaped", "a task's line hides by an escape", "utils/tasks/events.py",
     "needle in line or b\"\\\\\" in line", "needle in line", REMEMBERED, "escapes"),
    ("silence-swallows", "after a silence the same alert is only counted", ALERTS,
     "lately = [row for row in lately if row[6] != State.SUPPRESSED]", "pass", SILENCES, "after_a_silence"),
)  # fmt: skip
