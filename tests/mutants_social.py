"""The deliberate breaks of posts and messages; how they are used says `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

HTTP, HAND = "utils/adapters/social/http.py", "utils/hands/social.py"
ONE_CALL = "utils/adapters/one_call.py"
PROVIDERS, SOCIAL, RULES = (f"tests/test_social_{name}.py" for name in ("providers", "hands", "rules"))

# fmt: off
MUTANTS = (
    ("social-retries", "the HTTP session tries again by itself (S8)", ONE_CALL,
     "__init__(max_retries=0)",
     "__init__(max_retries=__import__('urllib3').Retry(2, allowed_methods=None, status_forcelist=[503]))",
     PROVIDERS, "whose_answer_got_lost"),
    ("social-redirects", "a redirect of an acting call is followed", HTTP,
     "allow_redirects=False", "allow_redirects=True", PROVIDERS, "redirect"),
    ("social-5xx-refused", "a 503 is taken for a refusal", HTTP,
     "    return Verdict.OPEN\n\n\nclass Api", "    return Verdict.LATER\n\n\nclass Api",
     PROVIDERS, "whose_answer_got_lost"),
    ("social-409-refused", "a 409 is taken for a refusal", HTTP,
     "answer.status not in (408, 409)", "answer.status not in (408,)", PROVIDERS, "meta_s_answers"),
    ("social-odd-header", "an answer that can't be read is taken for a request that can't", HTTP,
     "        reason = _root(error)\n",
     "        if isinstance(error, ValueError):\n            return AdapterError('', retry=False)\n"
     "        reason = _root(error)\n", PROVIDERS, "can_not_be_read"),
    ("social-drips", "an answer that drips is waited for to its end", ONE_CALL,
     "            socket.socket.shutdown(connection, socket.SHUT_RDWR)\n", "            pass\n",
     "tests/test_one_call.py", "drips"),
    ("social-transient-refused", "Meta's unknown error is taken for a refusal", "utils/adapters/social/graph.py",
     "code in _TRANSIENT or", "", PROVIDERS, "meta_s_answers"),
    ("social-absence-proves", "absence from a timeline is taken for proof", "utils/adapters/social/facebook.py",
     "                return _receipt(str(field_of(found, \"id\")))\n        return Absence.OPEN",
     "                return _receipt(str(field_of(found, \"id\")))\n        return Absence.PROVEN",
     SOCIAL, "nobody_can_know"),
    ("social-finished-proves", "a container that could be published proves that it will not be",
     "utils/adapters/social/instagram.py", '("EXPIRED", "ERROR")', '("EXPIRED", "ERROR", "FINISHED")',
     SOCIAL, "nobody_can_know"),
    ("social-no-mark", "nothing is noted before the commit", HAND,
     "        prepared(str(Mark(self._now(), made)))\n        return channel.publish(post, made)",
     "        receipt = channel.publish(post, made)\n        prepared(str(Mark(self._now(), made)))\n"
     "        return receipt", SOCIAL, "death_at_any_step"),
    ("social-old-post", "a post of before is taken for this one", HAND,
     "mark.at - SKEW", "mark.at - 100 * SKEW", SOCIAL, "of_before"),
    ("social-other-image", "the image's bytes are not compared (S6)", "utils/vault/frozen.py",
     "data is None or hashlib.sha256(data).hexdigest() != file.sha256", "data is None", SOCIAL, "exchanged"),
    ("social-bracket", "LinkedIn's reserved characters are not escaped", "utils/adapters/social/linkedin.py",
     '"commentary": little_text(post.text)', '"commentary": post.text', PROVIDERS, "reads_what_was_written"),
    ("social-token-abroad", "the token goes to whatever host an answer names",
     "utils/adapters/social/linkedin.py", " or not self._is_theirs(url)", "", PROVIDERS, "goes_nowhere"),
    ("social-weight", "a link counts as long as it is", "utils/core/tweet.py",
     "else parse_tweet(word).weightedLength", "else len(word)", RULES, "weighs"),
    ("whatsapp-window", "free text is sent after its window", "utils/core/whatsapp.py",
     "if wrote is not None and wrote + WINDOW > now:", "if wrote is not None:", SOCIAL, "window_that_has_closed"),
    ("whatsapp-claimed-window", "a request's word counts before that of webhooks", "utils/hands/whatsapp.py",
     "if wrote is not None or message.window_ends is None:", "if message.window_ends is None:",
     SOCIAL, "newer_message_and"),
    ("whatsapp-template", "a template is sent whatever it reads (S12)", "utils/hands/whatsapp.py",
     "if not same_text(message.text, text):", "if False:", SOCIAL, "reads_otherwise"),
    ("whatsapp-silence", "silence of webhooks proves that nothing was sent",
     "utils/adapters/social/whatsapp.py", "return Absence.PROVEN if failed else Absence.OPEN",
     "return Absence.PROVEN", SOCIAL, "nobody_can_know"),
    ("whatsapp-first", "a move approves a first message to a number (S7)", "utils/core/policy.py",
     'if action == "whatsapp_send":', "if False:", RULES, "first_message"),
    ("cloud-token", "a token may lie on the cloud node", "utils/settings.py",
     "s.agent_name == CLOUD and getattr(s, name)", "False", "tests/test_settings.py", "lies_on_the_cloud"),
)
# fmt: on
