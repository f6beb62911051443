"""The deliberate breaks of what becomes of a request in a person's hands; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

TASKS, COPIES, WAITING = (f"utils/execution/{name}.py" for name in ("source_tasks", "copies", "waiting"))
REMOVED, COPIED, OBSTACLES = (f"tests/test_approvals_{name}.py" for name in ("removed", "copies", "obstacles"))
TYPED, COMMAND = "tests/test_answers_property.py", "tests/test_approve_command.py"

# fmt: off
MUTANTS = (
    ("removed-at-once", "a file that is being exchanged counts as removed", TASKS,
     "if now - since >= GONE]", "]", REMOVED, "gone_for_a_moment or goes_to_rejected"),
    ("removed-for-ever", "the draft that is made anew is dropped for the one before", "utils/execution/store.py",
     "UPDATE seen SET counts = 0 WHERE name = ? AND counts = 2",
     "UPDATE seen SET counts = 1 WHERE name = ? AND counts = 2", REMOVED, "drafted_anew"),
    ("removed-half", "a crash between the word and the move leaves the task in progress", TASKS,
     "        if removals := self._store.removals():", "        if removals := []:", REMOVED, "crash"),
    ("removed-folder", "a folder that is gone rejects every task", TASKS,
     "        if not self._layout.folder(Stage.PENDING_APPROVAL).is_dir():", "        if False:", REMOVED, "folder"),
    ("returned-alone", "the task of a request that is back stays put away", "utils/execution/approvals.py",
     "                    self._tasks.take_back(file)\n", "                    pass\n", REMOVED, "is_back"),
    ("returned-again", "a task that a person put away comes back with another wording of its request (S3)", TASKS,
     "        if file.request_id in self._store.waited(task):\n            return\n", "", REMOVED, "puts_away"),
    ("done-alone", "a task that was elsewhere when its request was finished stays in progress for ever", TASKS,
     "if done is not None and done.filed:", "if False:", REMOVED, "was_elsewhere"),
    ("removed-renamed", "a renamed file counts as removed", "utils/execution/approvals.py",
     "    return found.union(file.request.id for some in files for file in some if file.request is not None)\n",
     "    return found\n", REMOVED, "renamed"),
    ("unreadable-empty", "a folder that can't be read passes for empty", "utils/vault/layout.py",
     "    except (FileNotFoundError, NotADirectoryError):\n        return\n    yield from (entry",
     "    except OSError:\n        return\n    yield from (entry", REMOVED, "can_not_be_read"),
    ("removed-waits", "a node that waits for a sync follows removals (S8)", "utils/execution/approvals.py",
     "        if is_current:\n            self._tasks", "        if True:\n            self._tasks",
     REMOVED, "waits_for_a_sync"),
    ("exchanged-forgotten", "what is gone for a moment is forgotten", "utils/execution/waiting.py",
     "if now - since < GONE}", "if False}", REMOVED, "loses_nothing"),
    ("edit-lost", "what a person wrote is lost with a mistake in it", "scripts/approve.py",
     "        if sheet is None or not sheet.is_written():\n", "        if True:\n", COMMAND, "never_lost or finds_it"),
    ("edit-their-own", "a person's own file is removed", "scripts/editing.py",
     "        if self._is_ours:\n", "        if True:\n", COMMAND, "persons_own"),
    ("decision-spelled", "a decision stays in the approved bytes", "utils/core/decision.py",
     "if _name(key) in KEYS]", "if key in KEYS]", TYPED, "however_it_is_spelled or synced_word"),
    ("decision-first", "of two words the first counts", "utils/core/decision.py",
     'return " / ".join(filter(None, words)) or None', "return next(filter(None, words), None)",
     TYPED, "two_spellings"),
    ("decision-late", "a text that rests is read at the next round only", "Watchers/approval_watcher.py",
     "self.services.brakes.next_look(self._looked), self.services.approvals.next_look()",
     "self.services.brakes.next_look(self._looked),",
     TYPED, "as_soon_as"),
    ("copy-any-bytes", "of two versions the one in Approved/ is sent unasked (S6)", COPIES,
     "                if len(left) == 1:\n", "                if left:\n", COPIED, "other_bytes"),
    ("copies-moving", "a file that is moved while we look is said to lie in two places", COPIES,
     " if one is file or one.path.exists()]", "]", COPIED, "moved_while"),
    ("obstacle-untold", "a missing account is told only after the approval", "utils/execution/looks.py",
     "            return (str(error),)\n", "            return ()\n", OBSTACLES, "missing_account"),
    ("obstacle-stays", "the note stays when the account is there", WAITING,
     "        elif not wanted and is_ours:\n", "        elif False:\n", OBSTACLES, "missing_account"),
    ("window-untold", "a closed window is told only when it is sent", "utils/hands/whatsapp.py",
     "        obstacles = (obstacle,) if obstacle else ()\n", "        obstacles = ()\n", OBSTACLES, "window"),
    ("window-trusted", "the window is not looked at again when it is sent", "utils/hands/whatsapp.py",
     "        if closed is not None:\n", "        if False:\n", "tests/test_social_hands.py", "window_that_has_closed"),
)
