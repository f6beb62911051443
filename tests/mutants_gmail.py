"""The deliberate breaks of mail by Gmail's API; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

CLIENT, HAND, TOKEN = "utils/adapters/mail_out/gmail.py", "utils/hands/gmail.py", "utils/adapters/google_token.py"
HISTORIES, CRASHES, AUTH = (f"tests/test_gmail_{name}.py" for name in ("hand", "crashes", "auth"))

# fmt: off
MUTANTS = (
    ("gmail-no-mark", "a draft is sent before its id is noted (S8)", HAND,
     "            prepared(str(Mark(self._now(), draft)))\n            return gmail.send(draft)\n",
     "            receipt = gmail.send(draft)\n            prepared(str(Mark(self._now(), draft)))\n"
     "            return receipt\n", CRASHES, "death_at_any_step and nothing"),
    ("gmail-no-fence", "a later try does not mind that the draft before is gone (S8)", HAND,
     "            if not gmail.remove(mark.made):\n", "            if not gmail.remove(mark.made) and False:\n",
     HISTORIES, "before_the_next_try"),
    ("gmail-not-cleared", "the draft before is not removed: a late call could still send it (S8)", HAND,
     "        if order.reference:  # of a try before\n", "        if False:\n", HISTORIES, "after_the_next_try"),
    ("gmail-another-s-word", "that Gmail has no draft proves that SMTP sent nothing (S8)", HAND,
     "return Absence.PROVEN if order.reference == _reference(order) else Absence.OPEN", "return Absence.PROVEN",
     CRASHES, "another_sender"),
    ("mail-another-s-word", "that the outbox has no file proves that Gmail sent nothing (S8)", "utils/hands/mail.py",
     "        if order.prepared:", "        if False:", CRASHES, "another_sender"),
    ("gmail-hasty", "what is seen at once counts, while the lost call is at work (S8)", HAND,
     "SETTLED = timedelta(seconds=30)", "SETTLED = timedelta(seconds=0)", HISTORIES, "works_on_while or shows_late"),
    ("gmail-draft-alone", "a draft that is shown counts before what was sent (S8)", HAND,
     "            receipt = gmail.sent(order.action_id, mark.at - SKEW)\n",
     "            receipt = None if lies else gmail.sent(order.action_id, mark.at - SKEW)\n",
     HISTORIES, "shown_although or shows_late"),
    ("gmail-gone-proves", "a draft that is gone proves that nothing was sent (S8)", HAND,
     "return Absence.PROVEN if lies else Absence.OPEN", "return Absence.PROVEN", HISTORIES, "gone_without_a_trace"),
    ("gmail-404-refused", "a draft that is not there any more is taken for a refusal (S8)", CLIENT,
     "return Verdict.OPEN if answer.status == 404 else by_status(answer)", "return by_status(answer)",
     HISTORIES, "what_each_answer"),
    ("gmail-enough-seen", "mails that were not looked through prove nothing was sent (S8)", CLIENT,
     '        raise AdapterError(f"more than {_MOST_SENT} mails were sent since: look yourself", retry=False)\n', "",
     HISTORIES, "more_sent_mails"),
    ("gmail-any-mark", "another action's mail is taken for ours", CLIENT,
     "            if _mark(body) == action_id:\n", "            if _mark(body):\n", HISTORIES, "answer_got_lost"),
    ("gmail-any-draft", "drafts of others are removed", CLIENT,
     '            if _mark(field_of(answer.body, "message")) == action_id:\n', "            if True:\n",
     HISTORIES, "no_heap"),
    ("gmail-heap", "drafts whose id got lost pile up", HAND,
     "            gmail.remove(draft)\n\n    def _withdraw", "            pass\n\n    def _withdraw",
     HISTORIES, "no_heap"),
    ("gmail-edited", "the draft before is sent again, as edited since (S6)", HAND,
     "        draft = gmail.create(mail, thread_of(order.request))\n",
     "        mark = read_mark(order.prepared)\n"
     "        draft = mark.made if mark else gmail.create(mail, thread_of(order.request))\n",
     HISTORIES, "edited_in_gmail or next_try"),
    ("gmail-no-bcc", "hidden recipients get nothing", CLIENT,
     "    if not mail.hidden:\n", "    if True:\n", HISTORIES, "through_a_draft or named_twice"),
    ("gmail-throttled-pauses", "too many calls pass for refused credentials", CLIENT,
     "if reasons & _THROTTLED or ", "if ", HISTORIES, "what_each_answer"),
    ("gmail-open-token", "a token file that others can read is used", TOKEN,
     "        if status.st_mode & 0o077:\n", "        if False:\n", CRASHES, "token_file_that"),
    ("gmail-old-token", "a renewed token is not read before a restart", TOKEN,
     "if self._credentials is None or read_from != self._read_from:", "if self._credentials is None:",
     CRASHES, "until_it_is_renewed"),
    ("gmail-endpoint-down", "a token endpoint that is down passes for a withdrawn access", TOKEN,
     "if 400 <= status < 500 and status not in (408, 429) and", "if",
     CRASHES, "endpoint_that_is_down"),
    ("gmail-cloud-token", "the token may lie on the cloud node (S5)", "utils/settings.py",
     "    if s.agent_name == CLOUD and s.gmail_send_token_path:\n", "    if False:\n",
     "tests/test_settings.py", "go_together"),
    ("gmail-wide-token", "the token that is written can be read by others", "scripts/gmail_auth.py",
     ", mode=0o600)", ", mode=0o644)", AUTH, "for_us_alone"),
    ("gmail-drafty-auth", "a draft-only node gets a token that sends (S5)", "scripts/gmail_auth.py",
     "    if settings.draft_only:\n", "    if False:\n", AUTH, "nothing_is_written"),
)
# fmt: on
