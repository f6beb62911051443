"""The deliberate breaks of what keeps one bad file from holding up the rest; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

STUCK = "tests/test_approvals_stuck.py"

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
)
