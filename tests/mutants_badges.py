"""The deliberate breaks of badges; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

CORE, ALIKE, LINKS = (f"utils/core/{name}.py" for name in ("badges", "lookalike", "links"))
FACTS, LOOKS, BY_MOVE = (f"utils/execution/{name}.py" for name in ("facts", "looks", "by_move"))
RULES, TOLD = "tests/test_badges.py", "tests/test_badges_told.py"

# fmt: off
MUTANTS = (
    ("badges-move", "a danger does not keep a move from approving (S7)", "utils/core/policy.py",
     "    if dangers:\n", "    if False:\n", TOLD, "decision_in_the_note"),
    ("badges-trust", "trust executes what looks like a trick", BY_MOVE,
     "        if dangers:\n", "        if False:\n", TOLD, "trust_does_not"),
    ("badges-claimed-verdict", "the request's own word on its sender counts", CORE,
     "    letter = facts.letter\n    if letter is None:\n",
     "    letter = facts.letter or Letter('', genuine=bool(request.source.get('sender_authenticated')))\n"
     "    if letter is None:\n", RULES, "verdict_is_this_nodes"),
    ("badges-bcc", "Bcc is not looked at", CORE,
     'for name in ("to", "cc", "bcc") for entry', 'for name in ("to", "cc") for entry', RULES, "wherever_it_stands"),
    ("badges-genuine-lookalike", "a genuine sender is never a lookalike", CORE,
     "        if alike is not None and alike.is_trick:\n",
     "        if alike is not None and alike.is_trick and person != sender:\n",
     RULES, "may_still_be_somebody_else"),
    ("badges-met", "whoever was met before is called a lookalike for ever", CORE,
     "for person in [person for person in people if person not in known]:", "for person in people:",
     RULES, "known_recipient or somebody_else"),
    ("badges-account", "a first account after none is not told", CORE,
     "    if now.iban != last.iban:\n", "    if last.iban and now.iban != last.iban:\n", RULES, "last_receipt"),
    ("badges-first-receipt", "the first receipt counts for ever, not the newest", FACTS,
     '"INSERT OR REPLACE INTO deals', '"INSERT OR IGNORE INTO deals', TOLD, "changed_account"),
    ("badges-approval-is-receipt", "what never got a receipt is remembered", "utils/execution/store.py",
     "            if target is State.DONE:\n", "            facts.settled(db, record.action_id, self._now())\n"
     "            if target is State.DONE:\n", TOLD, "is_no_receipt"),
    ("badges-upgrade", "older receipts are forgotten", "utils/execution/schema.py",
     "            facts.from_before(db)\n", "", TOLD, "after_the_upgrade"),
    ("badges-upgrade-answered", "what was answered before an upgrade is forgotten by it", FACTS,
     "        if request is not None:\n            drafted(db, request)\n", "", TOLD, "answered_before_an_upgrade"),
    ("badges-second-mail", "a second mail of the same id changes the verdict", FACTS,
     "INSERT OR IGNORE INTO letters", "INSERT OR REPLACE INTO letters", TOLD, "changes_no_verdict"),
    ("badges-answered", "that a mail was answered already is forgotten", FACTS,
     "UPDATE replies SET at = ? WHERE request_id = ?", "UPDATE replies SET at = ? WHERE 0 AND request_id = ?",
     TOLD, "second_reply"),
    ("badges-put-away", "a draft that was put away is said to wait", FACTS, "(at IS NOT NULL OR EXISTS", "(1 OR EXISTS",
     TOLD, "second_reply"),
    ("badges-userinfo", "what stands before an @ is taken for the host", LINKS,
     'lookalike.host(_authority(self.target).rpartition("@")[2])',
     'lookalike.host(_authority(self.target).partition("@")[0])', RULES, "browser_goes"),
    ("badges-fields", "links of fields are not looked for", CORE,
     "[request.draft, *_texts({", "[request.draft, *_texts(0 and {", RULES, "every_field"),
    ("badges-many-links", "links beyond the limit are passed over in silence", CORE,
     "    if len(leading) > links.MAX_LINKS:\n", "    if False:\n", RULES, "more_links"),
    ("badges-skeleton", "letters that look alike are not made one", ALIKE,
     "    if ours.skeleton == theirs.skeleton:\n", "    if False:\n", RULES, "hosts_that_look_alike"),
    ("badges-other-ending", "everybody below another ending is called a trick", ALIKE,
     "likeness is Likeness.LOOKS or (likeness is Likeness.SLIP and not is_met)", "likeness is not None", RULES,
     "honest_people"),
    ("badges-same-person", "nobody below another ending is a trick", ALIKE,
     "        return at is not None\n", "        return False\n", RULES, "addresses_that_look_alike"),
    ("badges-numbers", "numbers do not tell people apart", ALIKE,
     "    if _NUMBER.sub(\"0\", local) == _NUMBER.sub(\"0\", known):", "    if False:", RULES, "honest_people"),
    ("badges-short-names", "short names are taken for each other", ALIKE,
     "SHORTEST_PERSON = 8", "SHORTEST_PERSON = 4", RULES, "honest_people"),
    ("badges-unseen", "what can't be seen is shown as it is", LOOKS,
     "visible.escape(text) if label == _TEXT", "text if label == _TEXT", TOLD, "bytes_that_are_answered"),
    ("badges-stale-note", "the note of a danger stays when it is gone", "utils/execution/waiting.py",
     "        elif not wanted and is_ours:\n", "        elif False:\n", TOLD, "goes_away_with_it"),
)
# fmt: on
