"""The deliberate breaks of what keeps one bad file from holding up the rest; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

STUCK = "tests/test_approvals_stuck.py"
WATCHER, BESIDE = "Watchers/approval_watcher.py", "utils/execution/beside.py"
SILENT = "tests/test_execution_beside.py"

# fmt: off
MUTANTS = (
    ("stuck-escape", "an escape brings a lone surrogate into the vault", "utils/vault/frontmatter.py",
     "            check_texts(meta)\n", "", STUCK, "escaped_surrogate"),
    ("stuck-long-name", "the note of a long name is too long a name", "utils/vault/layout.py",
     "    if len(data) <= room:\n", "    if True:\n", STUCK, "long_name"),
    ("stuck-near-names", "two long names share a note", "utils/vault/layout.py",
     "hashlib.sha256(data)", "hashlib.sha256(data[:99])", STUCK, "long_name"),
    ("stuck-note", "one file's trouble holds up the others", "utils/execution/approvals.py",
     "            with trying(file.path.name):\n                if is_current:\n",
     "            if True:\n                if is_current:\n", STUCK, "mistake_of_ours"),
    ("stuck-silent", "what could not be looked at is not told", "utils/execution/approvals.py",
     "        if trouble.problems:\n", "        if False:\n", STUCK, "and_is_told"),
    ("stuck-place", "a file that can't be moved keeps the others from their places", "utils/execution/approvals.py",
     "            with trying(record.request_id):\n                self._place_or_void(record)\n",
     "            self._place_or_void(record)\n", STUCK, "can_not_be_moved"),
    ("stuck-junk", "junk is told again after each start", "utils/execution/remote.py",
     "if self._store.doubt(name, requests.sha256(data), why)]", "]", "tests/test_approvals_remote.py", "told_once"),
    ("stuck-input", "words that no file can hold are taken over the API", "Watchers/api/inputs.py",
     '            frontmatter.check_texts(value, "it")\n', "", "tests/test_api_approvals.py", "no_file_can_hold"),
    ("stuck-underline", "an underline begins another heading", "utils/core/task.py",
     "            underlined = True\n", "", "tests/test_task.py", "line_by_line"),
    ("silent-server", "a mail server that stays silent holds up decisions and notes", BESIDE,
     "wait([running], self.patience)", "wait([running])", SILENT, "stays_silent"),
    ("silent-untold", "Dashboard.md does not say that something is being carried out", "utils/core/dashboard_note.py",
     "    if entry.began is not None:", "    if False:", SILENT, "stays_silent"),
    ("silent-unwoken", "what a silent server did at last shows half a minute later", BESIDE,
     "            before.add_done_callback(lambda ended: self._wake())\n", "", SILENT, "wakes_nobody or finds_it"),
    ("silent-restless", "slow runs that do nothing follow each other for ever", BESIDE,
     "if ended.exception() is None and ended.result() not in (IDLE, self._told):", "if True:", SILENT, "wakes_nobody"),
    ("silent-same", "slow runs that find the same thing waiting follow each other for ever", BESIDE,
     "not in (IDLE, self._told)", "!= IDLE", SILENT, "nothing_new"),
    ("silent-error", "an error of what ran beside the cycle is never told", BESIDE,
     "[before.result()] if before is not None else []", "[]", SILENT, "finds_it"),
    ("silent-left", "the watcher leaves in the middle of what it carries out", WATCHER,
     "            self._beside.close()\n", "            pass\n", SILENT, "leaving_waits"),
    ("silent-begun", "whoever leaves begins all that is approved, and each loses a try", "utils/execution/executor.py",
     "        elif self._tools.stopped():\n", "        elif False:\n", SILENT, "begins_nothing"),
    ("silent-stale", "what was edited or taken back while the one before was sent is sent (S6)",
     "utils/execution/executor.py", "in requests.each(", "in requests.read_all(", SILENT, "one_before"),
    ("signed-silent", "a replayed or revoked approval vanishes without a word", "utils/execution/remote.py",
     "                self._tell_of_no_effect(statement, live)\n", "                pass\n",
     "tests/test_approvals_remote.py", "replayed_after or approved_already"),
    ("signed-noteless", "an approval that is replayed again has no note", "utils/execution/remote.py",
     "(is_news or requests.note(self._layout, file.path) is None)", "is_news",
     "tests/test_approvals_remote.py", "replayed_again"),
    ("signed-asleep", "a signed approval waits for the next round", WATCHER,
     ", layout.updates]", "]", SILENT, "folder_is_new"),
)
