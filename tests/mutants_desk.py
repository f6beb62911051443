"""The deliberate breaks of `Dashboard.md`, `scripts.actions`, `scripts.request`; how they are used: `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

NOTE, KEEPER, WATCHER = (
    "utils/core/dashboard_note.py",
    "utils/execution/dashboard_note.py",
    "Watchers/approval_watcher.py",
)
COMMAND = "scripts/actions.py"
PURE, SHOWN, TYPED = (f"tests/test_{name}.py" for name in ("dashboard_note", "dashboard_histories", "actions_command"))

SIGNING = "tests/test_dashboard_signing.py"

REQUEST, BY_HAND = "scripts/request.py", "tests/test_requests_by_hand.py"

# fmt: off
MUTANTS = (
    ("note-markup", "a subject makes links and markup in Dashboard.md (S12)", NOTE,
     "{_MEANS_SOMETHING.sub(_escaped, line)}", "{line}", PURE, "nothing_but_text or forges"),
    ("note-newline", "a subject begins a line of its own", NOTE,
     '" ".join(visible.plain(text).split())', 'visible.plain(text, keep="\\n")', PURE, "forges or obsidian"),
    ("note-hidden", "a subject has invisible characters", NOTE,
     "visible.plain(text)", "str(text)", PURE, "obsidian or can_still"),
    ("note-name-links", "the name of a file breaks out of its link", NOTE,
     "if _LINKABLE.fullmatch(name):", "if True:", SHOWN, "name_that_steers"),
    ("note-edit-lost", "a line that a person wrote into our part is lost (S1)", NOTE,
     "    if digest is not None and digest[1].decode() == _digest(inside):\n", "    if True:\n", PURE, "ticked"),
    ("note-guessed", "broken markers are taken for whole ones", NOTE,
     "    if [marker[1] for marker in markers] not in", "    if False and [marker[1] for marker in markers] not in",
     PURE, "broken"),
    ("note-overwrites", "what a person saves in the last moment is overwritten (S1)", KEEPER,
     "        done = worktree.replace(\n",
     "        self._layout.dashboard.write_bytes(wanted)\n        done = worktree.replace(\n", SHOWN, "last_moment"),
    ("note-by-cloud", "the Cloud writes Dashboard.md (S10)", WATCHER,
     "        if services.settings.agent_name != LOCAL:\n", "        if False:\n", SHOWN, "alone"),
    ("note-noise", "the note changes where nothing happened", KEEPER,
     "news=list(self._news()),", 'news=[News("now", str(now))],',
     SHOWN, "nothing_happens"),
    ("note-in-the-way", "a note that can't be written keeps the node from working", WATCHER,
     "        except Exception as error:\n", "        except ValueError as error:\n", SHOWN, "holds_nothing_up"),
    ("dashboard-no-badges", "Dashboard.md has only what a request says of itself (S6)",
     "utils/execution/dashboard_note.py",
     "        tuple(badges.dangers(pending.badges)),\n", "", SHOWN, "comes_first"),
    ("accepted-unseen", "a broken log is accepted without a question", COMMAND,
     "    if found and not options.yes:\n", "    if False:\n", "tests/test_action_log.py", "accepted_by_a_person"),
    ("named-by-guess", "of several actions one is guessed", COMMAND,
     "    if len(found) > 1:\n", "    if False:\n", TYPED, "never_guessed"),
    ("stop-after-alert", "an alert that fails keeps the kill switch from being pulled", COMMAND,
     "    if options.reason or not was_stopped:\n        services.brakes.stop(reason)\n",
     "    if was_stopped:\n        services.brakes.stop(reason)\n", TYPED,
     "stop_and_go or pulled"),
    ("request-anyway", "a request with problems is written all the same", REQUEST,
     "    if problems:\n        raise Refused(*problems)\n", "", BY_HAND, "all_that_is_wrong"),
    ("request-no-account", "a missing account is told only after the approval", REQUEST,
     "        problems.append(str(error))\n", "        pass\n", BY_HAND, "missing_account"),
    ("request-no-account-yet", "a missing account is told only once all fields are there", REQUEST,
     "        return [str(error)]\n    except InvalidTask:", "        return []\n    except InvalidTask:",
     BY_HAND, "missing_account"),
    ("request-by-cloud", "a draft-only node takes a person's request", REQUEST,
     "    if s.draft_only:\n", "    if False:\n", BY_HAND, "draft_only"),
    ("request-float", "an amount of the command line becomes a float", "utils/execution/by_hand.py",
     'YAML(typ="base", pure=True)', 'YAML(typ="safe", pure=True)', BY_HAND, "help_makes"),
    ("forward-unquoted", "a forwarded mail's lines are not quoted", "utils/mail/forward.py",
     'quote_block("\\n".join([*lines, "", mail.text]))', '"\\n".join([*lines, "", mail.text])',
     BY_HAND, "quoted_below"),
    ("forward-hidden", "a forward brings in what nobody sees", "utils/mail/forward.py",
     "return visible.strip(texts.clean(whole))", "return texts.clean(whole)", BY_HAND, "quoted_below"),
    ("passed-on-as-signed", "an approval that nobody signed is labelled as signed (S7)", "utils/execution/remote.py",
     "PassedOn(bool(best.signature), best.time)", "PassedOn(True, best.time)",
     "tests/test_approvals_remote.py", "clouds_api_passes"),
    ("sign-other-bytes", "the browser signs text that is not of the hash that is told (S6)",
     "dashboard/src/approvals/answer.ts",
     "if ((await sha256(content)) !== approval.sha256) {", "if (!content && key) {",
     SIGNING, "not_of_the_hash"),
    ("sign-told-hash", "the browser signs another hash than that of the text which it shows (S6)",
     "dashboard/src/signing/statement.ts", "sha256: await sha256(content),", 'sha256: await sha256(content + " "),',
     SIGNING, "test_vector"),
    ("sign-leaky-key", "a script can carry the approver key away", "dashboard/src/signing/own-key.ts",
     'generateKey("Ed25519", false,', 'generateKey("Ed25519", true,', SIGNING, "made_on_a_phone"),
    ("sign-not-asked", "what is signed is not shown before", "dashboard/src/approvals/request.tsx",
     "if (key || asksTwice(approval))", "if (asksTwice(approval))", SIGNING, "made_on_a_phone"),
    ("session-loses-text", "what was typed is lost when the session ends", "dashboard/src/api/client.ts",
     'if (problem.kind === "no-session") sessionIs(false);', 'if (problem.kind === "no-session") location.reload();',
     "tests/test_dashboard_browser.py", "session_ends"),
    ("sign-stale-push", "a laptop's approval is pushed without what Local did meanwhile",
     "scripts/approver_key.py", '"pull --rebase", ', "", "tests/test_approver_key.py", "laptop"),
)
