"""The deliberate breaks of what a request, a folder or a moment may not take away; used as `tests/mutants.py` says.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

JUDGE, GATHER = "utils/sync/judge.py", "utils/sync/gather.py"
FACTS, REVISIONS, CLAIMS = "utils/execution/facts.py", "utils/execution/revisions.py", "utils/claim_task.py"
TOLD = "tests/test_badges_told.py"
FOLDERS = "tests/test_sync_folders.py"

# fmt: off
MUTANTS = (
    ("folder-takes-place", "a folder that is taken deletes the file that may not go (S3)", JUDGE,
     "        _refuse_clashes(session, judged, offered, fresh)\n", "        session.checkpoint('clashes')\n",
     FOLDERS, "place_of_a_file_of_locals and False and actions"),
    ("room-without-use", "a file goes for what is refused in its place", JUDGE,
     "for path, other in merge.clashes(new, gone).items():", "for path, other in merge.clashes([], gone).items():",
     FOLDERS, "no_file_away"),
    ("own-folder-committed", "the cloud's own node commits a folder in the place of Local's file", GATHER,
     "    while found := merge.clashes(*_halves(reasons, changes)):", "    while found := merge.clashes([], []):",
     FOLDERS, "clouds_own_node"),
    ("in-the-way-forgotten", "what lies in the way of what arrived takes its place without a copy (S1)", GATHER,
     "    for path in merge.clashes((path for path, entry in theirs.items() if entry), new):",
     "    for path in merge.clashes((), new):", FOLDERS, "a_note_appears and intent"),
    ("sender-of-any-task", "the sender of a mail is sent anything by a move (S7)", FACTS,
     "        return letter.sender if is_reply else None\n", "        return letter.sender\n", TOLD,
     "nothing_but_the_reply"),
    ("task-named-freely", "a request names a genuine mail's task as its own (S7)", FACTS,
     "letter != self.letter(own_task(request.id, request.source_task))", "letter != self.letter(request.source_task)",
     TOLD, "own_task_alone"),
    ("foreign-task-redrafted", "a new draft for another's task makes a second reply to one mail", REVISIONS,
     "        task = own_task(request.id, request.source_task)\n", "        task = request.source_task\n",
     "tests/test_answers_revise.py", "names_anothers_task"),
    ("rewrite-overwrites", "what a person saves as an answer rewrites the request is lost (S1)", CLAIMS,
     "atomic.replace_if(path, data, lambda place: _has(place, expected_sha256))",
     "atomic.replace_if(path, data, Path.exists)", "tests/test_answers_saved.py", "api_edits or taken_out"),
    ("copy-taken-unseen", "a copy that is edited as it is taken away is lost (S1)", CLAIMS,
     "atomic.remove_if(path, lambda place: _has(place, sha256))", "atomic.remove_if(path, Path.exists)",
     "tests/test_answers_saved.py", "a_copy"),
    ("unread-words", "a move approves words that arrived a second ago (S7)", "utils/execution/by_move.py",
     "self._clock.now() - brought < _TO_BE_READ", "self._clock.now() - brought < timedelta(0)",
     "tests/test_approvals_moves.py", "directly_after"),
    ("better-letter", "naming a genuine mail's task takes the danger away (A1)", FACTS,
     "return min(found, key=", "return max(found, key=", TOLD, "another_message"),
)
# fmt: on
