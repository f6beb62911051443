"""Deliberate breaks of sync, claims, routing, answers, badges, action log, lease and acting. Tests must catch each.

`python -m tests.mutants [NAME…] [--list]`
Each mutant is an exact replacement of text in a temporary copy of the tree, run against the few tests that guard what
it breaks. Prints what caught it. Exits 1 where one survives, and where the text of one occurs no more.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests import (
    mutants_acting,
    mutants_answers,
    mutants_api,
    mutants_badges,
    mutants_cloud,
    mutants_desk,
    mutants_gmail,
    mutants_social,
    mutants_stuck,
    mutants_trust,
    mutants_web,
)

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS, TROUBLE, CRASH = (f"tests/test_sync_{name}.py" for name in ("scenarios", "trouble", "crash"))
TRUST, SECURITY, LOGS, RESTORED = (f"tests/test_sync_{name}.py" for name in ("trust", "security", "logs", "restored"))
MERGE, APPLY, GATHER, JUDGE = (
    "utils/core/merge.py",
    "utils/sync/apply.py",
    "utils/sync/gather.py",
    "utils/sync/judge.py",
)
RECOVER, SYNC, GIT, TREE = (
    "utils/sync/recover.py",
    "utils/vault_sync.py",
    "utils/adapters/git.py",
    "utils/vault/worktree.py",
)
ROUTING, DISPATCHER, ROUTED = (
    "utils/core/routing.py",
    "utils/dispatch/dispatcher.py",
    "tests/test_orchestrator_routing.py",
)
CLAIMS, SIGNS, MOVING = "utils/claim_task.py", "utils/vault/heartbeats.py", "utils/vault/moving.py"
CONTENDED, HEARTBEAT, CLAIM_CRASH = (f"tests/test_claims_{name}.py" for name in ("contended", "heartbeat", "crash"))
PERMISSION = "tests/test_failover_permission.py"
REMOTE, VALUES, AUTHORS, DELETIONS = (f"utils/sync/{name}.py" for name in ("remote", "values", "authors", "deletions"))
LEASE, KEEPER, WORK_ZONES = "utils/core/lease.py", "utils/lease/keeper.py", "utils/work_zones.py"
GIT_LEASE = "utils/adapters/git_lease.py"
ZONES, WORLD, REAL_LEASE = (f"tests/test_{name}.py" for name in ("zones", "lease_world", "git_lease"))
DECIDE, COPIES, BY_HAND = "tests/test_merge_decide.py", "tests/test_sync_copies.py", "tests/test_sync_by_hand.py"
LEFT_OUT, LEFT_OUT_TESTS = "utils/sync/left_out.py", "tests/test_sync_left_out.py"
DECISIONS, TYPED = "utils/execution/decisions.py", "tests/test_answers_property.py"
ANSWERED_ANEW, LEFT_BEHIND = "tests/test_answers_revise.py", "tests/test_answers_kept.py"
BRAKES, CORE_BRAKES, SERVERS = "utils/execution/brakes.py", "utils/core/brakes.py", "mcp_servers/acting.py"
BRAKED, STORE = "tests/test_brakes.py", "utils/execution/store.py"
EXECUTOR, EXECUTOR_RESTORED = "utils/execution/executor.py", "tests/test_execution_restored.py"
BY_MOVE = "utils/execution/by_move.py"
REMOTE_RULE, REMOTE_USE, APPROVER_KEYS, AWAY = (
    "utils/core/remote_approval.py",
    "utils/execution/remote.py",
    "utils/adapters/approver_keys.py",
    "tests/test_approvals_remote.py",
)
CHAIN, ACTION_LOG, CHAINED = (
    "utils/core/action_chain.py",
    "utils/execution/action_log.py",
    "tests/test_action_log.py",
)

ODOO, BOOKS, MONEY = "utils/adapters/odoo.py", "utils/adapters/odoo_books.py", "utils/core/books.py"
FAULTS, CONTRACT, IN_BOOKS = (f"tests/test_{name}.py" for name in ("odoo_faults", "odoo_contract", "execution_odoo"))


@dataclass(frozen=True)
class Mutant:
    """A break: `edits` are (file, text, replacement), each text occurring once; `file`, `only` select the tests."""

    name: str
    breaks: str
    edits: tuple[tuple[str, str, str], ...]
    file: str
    only: str


def _one(name: str, breaks: str, path: str, old: str, new: str, file: str, only: str) -> Mutant:
    return Mutant(name, breaks, ((path, old, new),), file, only)


_BRANCH_FIRST = (
    APPLY,
    "    overtaken: list[str] = []\n",
    "    session.git.move_ref(session.git.branch, new, session.git.ref(session.git.branch))\n"
    "    overtaken: list[str] = []\n",
)
_NO_INTENT = (RECOVER, "    _finish_applying(session)\n    _bring_home", "    _bring_home")

# fmt: off
MUTANTS = (
    *itertools.starmap(_one, mutants_acting.MUTANTS),
    *itertools.starmap(_one, mutants_answers.MUTANTS),
    *itertools.starmap(_one, mutants_badges.MUTANTS),
    *itertools.starmap(_one, mutants_stuck.MUTANTS),
    *itertools.starmap(_one, mutants_api.MUTANTS),
    *itertools.starmap(_one, mutants_cloud.MUTANTS),
    *itertools.starmap(_one, mutants_desk.MUTANTS),
    *itertools.starmap(_one, mutants_social.MUTANTS),
    *itertools.starmap(_one, mutants_gmail.MUTANTS),
    *itertools.starmap(_one, mutants_trust.MUTANTS),
    *itertools.starmap(_one, mutants_web.MUTANTS),
    _one("node-wins", "the node that merges wins, not the Local zone (S3)", MERGE,
         "return self.zone == LOCAL", "return True", SCENARIOS, "02_03"),
    _one("renames-on", "git guesses renames in the diff", GIT,
         '["diff-tree", "-r", "-z", "--raw", "--no-renames",', '["diff-tree", "-r", "-z", "--raw", "-M",',
         SCENARIOS, "09 or 16_20"),
    _one("no-union", "a log is replaced, not united (S1)", MERGE,
         "if is_log(path) and (winner or loser):", "if False:", SCENARIOS, "21"),
    _one("loser-dropped", "the version that yields is not kept (S1)", MERGE,
         "    if entry.is_empty:\n        return  # there is nothing to keep", "    return", SCENARIOS, "02_03"),
    _one("deletion-wins", "the cloud's deletion beats Local's edit", MERGE,
         "winner, loser = (ours, theirs) if sides.we_win else (theirs, ours)",
         "winner, loser = (None, ours or theirs) if not (ours and theirs) else (ours, theirs)", SCENARIOS, "07"),
    _one("wrong-claim", "of two claims the later one stands (S4)", MERGE,
         "stands = theirs if claim_only or ended else local", "stands = ours if claim_only else local",
         SCENARIOS, "17_of_two"),
    _one("claim-beats-human", "a claim on main beats the human's move (S4)", MERGE,
         "claim_only = stage_at(local) is Stage.IN_PROGRESS", "claim_only = True", SCENARIOS, "17_a_humans"),
    _one("two-places", "a task may lie in two stages (S4)", MERGE,
         "    _one_place_for_each_task(final, sides, plan, stage_at)\n", "", SCENARIOS, "17_of_two or 18"),
    _one("names-clash", "names that are one elsewhere stand side by side", MERGE,
         "    _no_clashing_names(final, sides, plan)\n", "", SCENARIOS, "12_names or 11_a_file_here"),
    _one("push-blindly", "a push that lost is tried again without looking", SYNC,
         "                return pushed.reason\n", "                pushed = git.push(new)\n", TROUBLE, "43"),
    _one("force-push", "the push is forced", GIT,
         'refspec = f"{commit}:{self.branch}"', 'refspec = f"+{commit}:{self.branch}"', TROUBLE, "43 or 31"),
    _one("no-lock", "two syncs of one vault run at once", SYNC,
         "holding = locks.hold(self._lock, timeout=_MOMENT)",
         "holding = __import__('contextlib').nullcontext()", TROUBLE, "32"),
    Mutant("branch-first", "the branch moves before the files do", (_BRANCH_FIRST,), CRASH, "half_applied"),
    Mutant("branch-first-no-intent", "… and nothing remembers what was to be done", (_BRANCH_FIRST, _NO_INTENT),
           CRASH, "half_applied"),
    _one("arrives-again", "a task that was moved after a crash arrives again (S4)", APPLY,
         "        _yield_to_moves(session, new, before, after)\n", "        session.checkpoint('again')\n",
         CRASH, "one_place"),
    _one("undone-after-crash", "what was done after a killed sync's last step is undone", RECOVER,
         'if known and at_home == intent["new"] and not', 'if False and not', CRASH, "after_the_last"),
    _one("live-edit-overwritten", "what lies there is not compared before it is replaced", TREE,
         "        if current != expected:\n            return False\n", "", TROUBLE, "34_a_note and file"),
    _one("last-moment-lost", "what somebody saves directly before the rename is not put back (S1)",
         "utils/vault/atomic.py", "        good = is_expected(temporary)\n", "        good = True\n",
         "tests/test_sync_last_moment.py", "between_the_look"),
    _one("overtaken-forgotten", "an edit during the apply is taken for one of the new version", APPLY,
         "    if overtaken and old:\n", "    if False:\n", TROUBLE, "34_a_note"),
    _one("log-lock-off", "a log is replaced while somebody appends", TREE,
         "    if not is_log(path):\n        yield\n        return\n", "    yield\n    return\n", LOGS, ""),
    _one("judge-off", "what the cloud may not write is applied (S10)", JUDGE,
         "_second_places(session, start, suspects) | cloud_reasons(session, start, suspects)",
         "_second_places(session, start, suspects)", TRUST, "44_what"),
    _one("cloud-unbound", "the cloud commits what it may not (S10)", GATHER,
         "        _keep_cloud_in_its_paths(session, head, picture)\n", "        pass\n", TRUST, "44_an_honest"),
    _one("answers-altered", "what Local answered is altered from outside (S3)", JUDGE,
         "    for path in sorted(answered):\n",
         "    for path in sorted(answered)[:0]:\n", SECURITY, "answered"),
    _one("cloud-ping-pong", "the cloud takes back what Local took back, for ever", AUTHORS,
         "    believed = session.zone == CLOUD and", "    believed = False and", SECURITY, "cloud_follows"),
    _one("log-shortened", "the cloud shortens a log (S10)", JUDGE,
         "        if not contents[after].startswith(contents[before])\n", "        if False\n", TRUST, "only_appends"),
    _one("offer-forgotten", "a merge that was pushed when we were killed is a stranger's", SYNC,
         "offered=[*offered, new][-_OFFERED:]", "offered=[]", CRASH, "no_strangers"),
    _one("deletions-unbound", "half of the vault may vanish here", DELETIONS,
         "(base)):\n        was", "(base)) and '':\n        was", TROUBLE, "half_of_the_vault"),
    _one("old-texts-back", "notes come back as they were before the last edits (S1)", DELETIONS,
         "for commit in reversed(session.git.commits(base, head)):\n", "for commit in ():\n",
         "tests/test_sync_remedies.py", "were_last"),
    _one("own-past-forgotten", "what a node judged before it was put back is judged anew (S3)", AUTHORS,
         'own = {memory.get("at"), *', "own = {*", RESTORED, "alone or by_hand"),
    _one("restore-not-asked", "a node put back undoes what its human wrote since (S3)", AUTHORS,
         "if newest is None or _was_awake(session):", "if True:", RESTORED,
         "a_person_says_so"),
    _one("home-for-a-moment", "a put back node's first good sync makes a forger of its own past (S3)", AUTHORS,
         "settled_in = back is None or", "settled_in = True or", RESTORED, "put_back_with_local"),
    _one("state-lost-unseen", "a node put back without its state makes a forger of its own past (S3)", SYNC,
         "or not was_awake(memory, now)", "or bool(memory.get('last_success_at') and not was_awake(memory, now))",
         RESTORED, "without_the_state or without_its_state"),
    _one("end-undone", "what a put back Local does with an old task undoes what it did since (S8)", MERGE,
         "ended = theirs in sides.settled and", "ended = False and", RESTORED, "undoes_no_end"),
    _one("backup-believed", "what the journal of a backup has as approved is carried out again (S8)", EXECUTOR,
         "elif put_back_at is not None and", "elif False and", EXECUTOR_RESTORED, "last_push"),
    _one("journal-put-back", "a journal that alone was put back is believed (S8)", STORE,
         "        if known is not None and known <= steps:\n", "        if True:\n",
         EXECUTOR_RESTORED, "alone_is_put_back"),
    _one("mark-put-back", "a mark that was put back with its journal is believed (S8)", "utils/execution/mark.py",
         "return None if self._memory.is_put_back() else", "return", EXECUTOR_RESTORED, "without_a_remote"),
    _one("seen-before", "a move counts of what was seen before the journal was put back (S7)", STORE,
         '        db.execute("UPDATE seen SET counts = 0 WHERE counts = 1")\n        self._outside',
         "        self._outside", EXECUTOR_RESTORED, "never_heard"),
    _one("trust-after-put-back", "what the journal forgot is trusted and sent again (S8)", BY_MOVE,
         'via, by, doubt = ("", "", forgotten) if forgotten else', "via, by, doubt =", EXECUTOR_RESTORED,
         "lay_in_approved and trust"),
    _one("copy-seen-after-put-back", "a vault that was put back makes an old move count (S8)", BY_MOVE,
         "                self.judge(file, None)\n", "                pass\n", EXECUTOR_RESTORED,
         "lay_in_approved"),
    _one("skew-after-put-back", "another node's clock makes what the journal forgot new (S8)", BY_MOVE,
         "> at + SKEW:", "> at:", EXECUTOR_RESTORED, "newer_than_the_put_back"),
    _one("unknown-forgotten", "that an action was begun is lost with the journal", "utils/execution/notes.py",
         "if is_forgotten and is_unknown(before) else", "if False else", EXECUTOR_RESTORED, "lay_in_approved"),
    _one("end-of-the-backup", "the backup says that what was sent since came to nothing", BY_MOVE,
         "and (forgotten is None or self._is_new(ended))", "and True", EXECUTOR_RESTORED, "forgot_was_not_sent"),
    Mutant("mark-last", "a step of another process is taken for a journal that was put back",
           ((STORE, "        known = self._outside.steps()  # first, for others may write on meanwhile\n", ""),
            (STORE, "        if known is not None and known <= steps:\n",
             "        known = self._outside.steps()\n        if known is not None and known <= steps:\n")),
           EXECUTOR_RESTORED, "others_write"),
    _one("snapshot-unseen", "a snapshot of a minute ago acts before it has synced (S8)", VALUES,
         'return bool(memory.get("boot", boot_id()) == boot_id())', "return True", RESTORED, "snapshot"),
    _one("superseded-approved", "a request that a new draft was asked for can still be approved (S6)",
         "utils/execution/store.py", '" WHERE NOT EXISTS (SELECT 1 FROM revisions WHERE request_id = ?)",',
         '" WHERE ? IS NOT NULL",', ANSWERED_ANEW, "never_both"),
    _one("ended-by-superseded", "a superseded request in Rejected/ ends its task",
         "utils/execution/source_tasks.py", " and self._store.answers.superseded(name) is None", "",
         ANSWERED_ANEW, "sent_back_again"),
    _one("sent-back-again", "a task that is drafted anew is sent back once more", "utils/execution/revisions.py",
         "if revision_of(meta).number >= new.number:", "if False:", ANSWERED_ANEW, "sent_back_again"),
    _one("unmet-unsaid", "a draft that does not follow the instruction does not say so", "utils/mail/task_file.py",
         "    if proposal.unmet:\n", "    if False:\n", ANSWERED_ANEW, "it_says_and_hands_back"),
    _one("synced-decision", "a decision that came by a sync is carried out (S7)", DECISIONS,
         "if not plain or self._known_to_git(path, file.data):", "if not plain:", TYPED, "earns_no_trust"),
    _one("spelled-anew", "a synced decision counts once an editor spelled it anew (S7)", DECISIONS,
         "if known is None or any(_word_in(data) is not None for data in known):", "if known is None:",
         TYPED, "spells_a_synced"),
    _one("decision-answers-again", "a decision left in what was approved approves it again (S6)", DECISIONS,
         "if self._store.was_approved(file.request_id, file.sha256):", "if False:", TYPED, "came_back"),
    _one("approved-unseen", "a decision approves words that nobody saw waiting (S6)", DECISIONS,
         "        if not any(_word_in(data) is None and _content(data) == wanted for data in seen):\n",
         "        if wanted is None and seen:\n", TYPED, "same_moment"),
    _one("last-edit-only", "an edit is compared with the edit before, not with the draft", "utils/execution/change.py",
         "    for data in versions:\n", "    for data in reversed(list(versions)):\n", LEFT_BEHIND, "of_many_edits"),
    _one("snooze-stops-time", "what is hidden is not warned of before it expires", "utils/execution/waiting.py",
         "            warning = self._warning(file) if self._store.live(file.request_id) is None else None\n",
         "            hidden = file.request_id in self._store.answers.snoozed()\n"
         "            warning = self._warning(file) if not hidden else None\n", LEFT_BEHIND, "stops_no_clock"),
    _one("seen-by-edit", "an edit in Approved/ passes for a look at what waits (S7)", "utils/execution/approvals.py",
         "        self._store.answers.saw(request_id, sha256, file.data)  # as it was before\n",
         "        self._waiting.see(file)\n", LEFT_BEHIND, "is_no_look"),
    _one("moves-while-waiting", "a node that waits for its first sync moves what may be old (S8)", EXECUTOR,
         "        if waits:\n", "        if False:\n", EXECUTOR_RESTORED, "moves_nothing"),
    _one("tug-of-war", "what no node takes stays in a person's commit, for ever", GATHER,
         "        _leave_out(session, head, picture)\n", "        pass\n",
         "tests/test_sync_foreign_trees.py", "commits_here"),
    _one("only-copy-removed", "a task that seems copied is removed although the other one is gone (S1)", GATHER,
         "while_at=restore.while_at", "while_at=None", TROUBLE, "put_back_while"),
    _one("claim-beats-rejection", "a claim that came too late takes away what a person did (S4)", GATHER,
         "copied = copies.brought(found, left)", "copied = found", COPIES, "stands_over_a_claim or clouds"),
    _one("copy-turned-round", "a copy that a kill left half put right is turned round (S4)", RECOVER,
         "    gather.finish(session)\n", "", COPIES, "turned_round"),
    _one("typed-text-hangs", "text typed into a half-done merge is in no branch when the sync stops (S1)", RECOVER,
         '    session.git.move_ref("HEAD", commit, head)', "    session.git.resolve(commit)", BY_HAND, "was_typed"),
    _one("committed-unseen", "what plain git commits in the vault passes no gate", GATHER,
         "        picture.committed = session.git.diff(picture.base, head)\n", "        pass\n", BY_HAND,
         "mass_deletion_that_a_program or lies_in_one or clash"),
    _one("passed-forgotten", "a mass deletion that was allowed is asked about again after a crash", RECOVER,
         'offered=None, passed=intent["new"])', "offered=None)", BY_HAND, "phones and after_a_kill"),
    _one("passed-not-durable", "… or after a crash behind the commit", GATHER,
         "update(passed=commit)\n        if commit != head:\n            session.checkpoint(\"committed\")\n",
         "update()\n        session.checkpoint('committed')\n        session.memory.update(passed=commit)\n",
         BY_HAND, "after_a_kill and committed"),
    _one("home-ungated", "what plain git committed passes no gate where HEAD was elsewhere", APPLY,
         'passed = {} if intent.get("home") else', "passed = {} if False else", BY_HAND, "went_elsewhere"),
    _one("left-out-for-ever", "what is left out is never looked at again (S1)", LEFT_OUT,
         "    if fit:\n", "    if False:\n", LEFT_OUT_TESTS, "becomes_fit"),
    _one("came-behind-forgotten", "what came to a place that is left out is undone when it is free again (S1)", GATHER,
         "or left_out.covers(picture.left_out, path)\n", "\n", LEFT_OUT_TESTS, "what_came"),
    _one("link-is-a-task", "a link is taken for a task, and the task goes (S1)", GATHER,
         "    if head:\n        _leave_out(session, head, picture)\n    _settle_copies(session, head, picture)\n",
         "    _settle_copies(session, head, picture)\n    if head:\n        _leave_out(session, head, picture)\n",
         LEFT_OUT_TESTS, "no_copy"),
    _one("behind-a-link-lost", "notes go because a link came in their folder's place (S1)", GATHER,
         "for path in gone if (link", "for path in () if (link", LEFT_OUT_TESTS, "linked_to"),
    _one("secret-name-follows", "a file named like a secret goes from the human's disk (S1)", GATHER,
         "items() if path not in picture.changes}", "items() if why.level != 'CRITICAL'}",
         "tests/test_sync_secrets.py", "whatever_the_person_does"),
    _one("gone-before-it-lies", "a task that is put back is in no place for a moment (S1)", GATHER,
         "for path in chain(*steps({path: restore.target for path, restore in restores.items()})):",
         "for path in sorted(restores, key=lambda path: restores[path].target is not None):", COPIES, "survives"),
    _one("lines-cross", "logs pair equal lines in any order (S1)", MERGE,
         "before.append(last[k - 1] if k else -1)", "before.append(number - 1)", DECIDE, "order"),
    _one("marker-unwatched", "an unmounted disk wipes the other node", DELETIONS,
         "if news.get(marker.name, (None, True))[1] is None:", "if False:", TROUBLE, "unmounted"),
    _one("half-a-move", "a move travels without its other half", GATHER,
         'if path.rpartition("/")[2] in moving}', "if False}", TROUBLE, "35_a_task"),
    _one("secrets-travel", "the secret scan is off (S11)", GATHER,
         "    refusal = session.secrets.find(data, allow=session.zone == LOCAL)\n", "    refusal = None\n",
         TRUST, "36"),
    _one("rollback-unseen", "a remote that was forced back is believed", REMOTE,
         "if seen and not session.answers.accept_remote and", "if False and", TROUBLE, "28"),
    _one("moves-unseen", "the human's moves are not noted before a commit (S7)", VALUES,
         "            self.observe_moves()\n", "            pass\n", TROUBLE, "noted"),
    _one("stale-index", "git's index stays behind after a crash (S2)", GATHER,
         "            picture.stale_index = True  # only the index", "            pass  # only the index",
         CRASH, "index_follows"),
    _one("lease-forced", "the lease is taken whatever lies there", GIT_LEASE,
         'lease = f"--force-with-lease={LEASE}:{expected or \'\'}"', 'lease = "--force"', REAL_LEASE, "something_else"),
    _one("lease-plus", "a + before the refspec, which silently disables the lease", GIT_LEASE,
         'f"{sha}:{LEASE}", f"+', 'f"+{sha}:{LEASE}", f"+', REAL_LEASE, "something_else"),
    _one("lease-found-is-won", "a value that lay there already counts as put there by us", GIT_LEASE,
         "return sha if sha == expected else None", "return sha", REAL_LEASE, "something_else"),
    _one("lease-unknown-is-refused", "a push without an answer counts as refused", GIT_LEASE,
         '        raise self._error(errors or f"git push ended with {code}")', "        return None",
         REAL_LEASE, "answer_is_lost"),
    _one("lease-lock-is-a-race", "a lock left on the remote looks like a lost race, for ever", GIT_LEASE,
         'is_race(words) and "Unable to create" not in errors', "is_race(words)", REAL_LEASE, "lock_left"),
    _one("lease-never-gone", "a lease that was deleted on the remote is still seen", GIT_LEASE,
         '"fetch", "--prune", ', '"fetch", ', REAL_LEASE, "taken_away"),
    _one("lease-beats-for-ever", "each heartbeat is one more object on the remote", GIT_LEASE,
         "self._beat = (self._beat + 1) % BEATS", "self._beat += 1", REAL_LEASE, "handful"),
    _one("lease-cache-sick", "a damaged cache is never made anew", GIT_LEASE,
         "            self._discard()\n            raise\n", "            raise\n", REAL_LEASE, "heals"),
    _one("lease-ref-below", "a ref below the lease looks like a lost race, for ever", GIT_LEASE,
         "        if below:\n", "        if False:\n", REAL_LEASE, "below"),
    _one("lease-read-whole", "whatever lies there as a lease is read, however large", GIT_LEASE,
         'kind == "commit" and int(size) <= _LARGEST', 'kind == "commit"', REAL_LEASE, "too_large"),
    _one("lease-impatient", "the lease is taken before its holder must have stopped", LEASE,
         "    return _longer_ttl(memory, rules) + rules.margin_seconds\n", "    return rules.ttl_seconds / 2\n",
         WORLD, "promise"),
    _one("lease-pause-unseen", "the same value after a long pause counts as unchanged all the while", LEASE,
         "unbroken = memory.last_seen is not None and now - memory.last_seen <= _shorter_ttl(memory, rules)",
         "unbroken = memory.last_seen is not None", ZONES, "came_round"),
    _one("lease-own-ttl-alone", "who waits does not ask for how long the holder goes on", LEASE,
         "float(max(memory.known.ttl if memory.known else 0, rules.ttl_seconds))", "float(rules.ttl_seconds)",
         ZONES, "longer_settings"),
    _one("lease-for-ever", "a zone works on although it could not renew its lease", LEASE,
         "return State.ACTIVE if now < memory.deadline else State.UNSURE", "return State.ACTIVE", ZONES, "work_ends"),
    _one("lease-late-deadline", "a deadline counts from the answer, not from before the push", LEASE,
         "deadline=before + rules.ttl_seconds", "deadline=now + rules.ttl_seconds", WORLD, "promise"),
    _one("lease-doubt-off", "work begins in a term whose push was answered late", LEASE,
         "    if lease.node == lease.writer == memory.node and memory.confirmed != lease.term:", "    if False:",
         ZONES, "landed_an_hour"),
    _one("lease-switch-twice", "each press of a switch is a new term and an alert", KEEPER,
         "            if rules.stands_already(memory, push):\n", "            if False:\n", ZONES, "same_switch"),
    _one("lease-pin-ignored", "failover undoes a human's switch", LEASE,
         '    if lease.pinned:\n        return Rest(f"{held}, chosen by a human")\n', "", ZONES, "pinned"),
    _one("lease-never-frozen", "the zones change to and fro for ever", LEASE,
         "    if at_limit(memory, now, rules):", "    if False:", ZONES, "freeze"),
    _one("lease-first-counts", "the hand-over to a zone that comes late is a change to and fro", LEASE,
         "by, reason, switches = By.START,", "by, reason, switches = By.FAILBACK,", ZONES, "comes_late"),
    _one("lease-limit-untold", "that nothing changes by itself is told when no zone is active", KEEPER,
         "        if news and (limit :=", "        if False and (limit :=", ZONES, "told_when_it_is_reached"),
    _one("keys-at-once", "what was committed without a key is not carried over before one counts", "scripts/keys.py",
         "    if zone is None or store.keyring().enrolled(zone):", "    if True:", "tests/test_keys.py", "for_forged"),
    _one("returned-untold", "the Cloud says nothing of what Local refused of it", "utils/sync/returned.py",
         "    if session.zone != CLOUD:", "    if True:", "tests/test_keys.py", "cloud_hears_of"),
    _one("alerts-by-title", "another message under the same title is only counted", "utils/core/alert.py",
         "    return _CHANGING.sub(", "    return True or _CHANGING.sub(", "tests/test_alerts.py", "another_message"),
    _one("repair-whatever", "a sound history is thrown away by --repair", SYNC,
         "            if self._is_sound():", "            if False:", "tests/test_sync_damage.py", "healthy"),
    _one("drops-words-of-broken", "properties that can't be read set the type by their words",
         "utils/dispatch/drops.py", 'if frontmatter.is_meant(text) else ""', 'if False else ""', ROUTED,
         "cannot_be_read"),
    _one("lease-frozen-again", "after a person's switch the next failure freezes the zones", LEASE,
         "() if lease.by is By.HUMAN else recent", "recent", ZONES, "first_one"),
    _one("lease-anyone-leaves", "another node of the zone says that the work is laid down", LEASE,
         'lease.leaving == here.zone and lease.leaving_node in ("", memory.node) and not',
         "lease.leaving == here.zone and not", ZONES, "only_the_node"),
    _one("lease-begins-early", "a human's switch begins before the other zone laid down its work", LEASE,
         "    if lease.leaving:\n        return memory\n", "", ZONES, "pinned"),
    _one("lease-twin-unseen", "two machines with one STATE_DIR both work, for ever", KEEPER,
         "        if rules.met_twin(memory, after, here):", "        if False:", ZONES, "machine"),
    _one("lease-twin-late", "a machine cloned a while ago works before it sees its twin", LEASE,
         "return (lease.beat - known.beat) % BEATS > 1", "return False", ZONES, "cloned_a_while"),
    _one("lease-twin-same-nonce", "two machines that were cloned running take turns for ever", KEEPER,
         'after = replace(after, nonce="")  # not', "pass  # not", ZONES, "to_the_minute"),
    _one("lease-twin-imagined", "a node takes what it did not hear of for another's", LEASE,
         "    return told_all\n", "    return True\n", ZONES, "no_twin"),
    _one("lease-memory-unchecked", "a zone.json of wrong types makes every job fail", "utils/lease/memory.py",
         "        if type(value) not in allowed or", "        if False and",
         "tests/test_lease_memory.py", "wrong_types"),
    _one("lease-same-nonce", "a push that got no answer may land on a value that came round again", KEEPER,
         '            self._store.save(replace(self._store.load(), nonce=""))\n', "", ZONES, "hour_later"),
    _one("lease-works-on", "work goes on while the zone is handed over", KEEPER,
         "            memory = self._store.save(rules.laid_down(memory))\n", "", ZONES, "waited_for"),
    _one("lease-not-awaited", "the zone is handed over in the middle of a task", KEEPER,
         "            if not self._lay_down():\n", "            if False:\n", ZONES, "work_in_hand"),
    _one("lease-hand-over-put-off", "tasks that overlap put off a hand-over for ever", KEEPER,
         "                push = rules.unfinished(push, memory, here)\n", "                raise _StillWorking\n",
         ZONES, "overlap"),
    _one("lease-overtaken-goes-on", "a task goes on although the other zone may be at it", LEASE,
         "return memory.finish is not None and now < memory.finish", "return True", ZONES, "never_ends"),
    _one("lease-overtaken-unasked", "a claim's heartbeat does not ask whether the other zone may be at it", CLAIMS,
         "        if self._overtaken():\n", "        if False:\n", ZONES, "overtaken_is_lost"),
    _one("lease-active-at-start", "a node works after its start before it has asked the remote", KEEPER,
         'replace(rules.laid_down(self._store.load()), nonce="")', "self._store.load()", ZONES, "after_a_start"),
    _one("lease-lost-is-alone", "a vault that lost its remote makes a second active zone", WORK_ZONES,
         "return not (self._has_remote() or self._remote_wanted or self._shared.exists())",
         "return not self._has_remote()", ZONES, "vanished"),
    _one("lease-unasked", "a task begins without a look whether this zone is still the active one",
         "utils/mail/intake.py", 'return self._handle(path, now) if ours else ""', "return self._handle(path, now)",
         "tests/test_mail_intake.py", "handed_over"),
    _one("unknown-type-is-active", "a type that nobody knows goes to the active zone (S5)", ROUTING,
         "return routing.get(task_type, Rule.LOCAL)", "return routing.get(task_type, Rule.ACTIVE)",
         PERMISSION, "every_type"),
    _one("local-only-routes-to-cloud", "a routing table sends local-only work to the cloud (S5)", ROUTING,
         "    if task_type in LOCAL_ONLY_TYPES:\n        return Rule.LOCAL\n", "", PERMISSION, "no_routing_table"),
    _one("zones-asked-once", "a task is begun although the zones have changed since the look", DISPATCHER,
         "            if not ours:  # the zones may", "            if False:  # the zones may", ROUTED, "asked_again"),
    _one("priority-ignored", "an urgent task waits for older ones", ROUTING,
         "(_URGENCY.get(tickets[key].priority, 2), tickets[key].created, str(key))", "(tickets[key].created, str(key))",
         ROUTED, "most_urgent"),
    _one("tries-not-durable", "a poisoned task is tried anew after each restart", DISPATCHER,
         "self._attempts = Attempts(tries)", 'self._attempts = Attempts(tries.with_name(f"{id(self)}"))',
         ROUTED, "kills_its_process"),
    _one("stop-is-a-try", "a task is blamed for a stop of the process", DISPATCHER,
         "            self._attempts.uncount(name)", "            pass", ROUTED, "after_a_stop"),
    _one("drafting-uncounted", "a mail whose drafting kills the process is tried for ever", "utils/mail/intake.py",
         "if self._attempts.count(task.id) > TRIES:", "if False:", "tests/test_mail_intake.py", "drafting_kills"),
    _one("money-by-folder", "a folder makes less of a task about money", "utils/core/inference.py",
         "    if paying:\n", "    if paying and chosen not in TYPE_OF_DOMAIN:\n",
         "tests/test_inference.py", "downgraded"),
    _one("drop-overtaken", "what is typed while a drop is filed is lost (S1)", "utils/dispatch/drops.py",
         "        if aside.read_bytes() != text.encode():", "        if False:", ROUTED, "goes_on_typing"),
    _one("drop-left-behind", "of a drop that can't be taken away tasks are made without end", "utils/dispatch/drops.py",
         "            atomic.move(path, aside)\n        try:\n"
         "            self._create(meta, body, identity, created)\n",
         "            pass\n        try:\n            self._create(meta, body, identity, created)\n"
         "            atomic.move(path, aside)\n", ROUTED, "taken_away"),
    _one("claim-overwrites", "a claim replaces a namesake (S1)", CLAIMS,
         "atomic.rename_noreplace(path, target)", "os.replace(path, target)", CONTENDED, "eight_processes"),
    _one("claim-rejected", "an agent takes up what was rejected (S3)", "utils/core/stages.py",
         "frozenset() if by_itself and source is Stage.REJECTED else ", "", "tests/test_claims.py", "was_rejected"),
    _one("claim-spelt-otherwise", "names that are one elsewhere lie side by side", CLAIMS,
         "if fold(other.name) == fold(target.name):", "if other.name == target.name:", CONTENDED, "one_to_another"),
    _one("line-forgotten", "a move that was killed before its line has none (S4)", MOVING,
         "            elif self._happened(entry):\n", "            elif False:\n", CLAIM_CRASH, "missing"),
    _one("killed-line-unflushed", "the line of a killed process is taken for durable", MOVING,
         "                jsonl.flush(self._log)\n            elif", "                pass\n            elif",
         CLAIM_CRASH, "did_not_flush"),
    _one("line-unflushed", "the note goes although the line is not on the disk", "utils/vault/jsonl.py",
         "fcntl.LOCK_UN)\n        os.fsync(descriptor)\n", "fcntl.LOCK_UN)\n", CLAIM_CRASH, "made_before_the_move"),
    _one("edit-forgotten", "an edit that was killed before its line has none, or one that was not made has one", MOVING,
         '        if "sha256" in entry:', "        if False:", CLAIM_CRASH, "edit"),
    _one("alone-starves", "a steady stream of claims keeps everybody else from the lock", MOVING,
         "        if self._is_wanted_alone():", "        if False:", CONTENDED, "later"),
    _one("claim-found-abandoned", "a claim in its midst is taken for abandoned", CLAIMS,
         "        with self._moves.hold():  # while nobody is in", "        if True:  # while nobody is in",
         CONTENDED, "found_abandoned"),
    _one("worked-on-claimed", "what a thread still works on is claimed by another", CLAIMS,
         " or self._heartbeats.is_worked_on(path.stem):  # who", ":  # who", HEARTBEAT, "put_back_by_hand"),
    _one("living-robbed", "a living process's work is taken up by another", SIGNS,
         "return worker is not None and worker.is_alive", "return False", HEARTBEAT, "frozen"),
    _one("dead-inherited-twice", "of many who find the work of the dead, several take it up", SIGNS,
         "        if self.is_worked_on(task_id):\n            return False\n        self.begin",
         "        self.begin", HEARTBEAT, "of_many_who_find"),
    _one("sweep-robs", "a start takes away the signs of the living", SIGNS,
         "            if worker is None or not worker.is_alive:\n", "            if True:\n",
         HEARTBEAT, "start_sweeps"),
    _one("loser-goes-on", "a claim that lost at the merge does not stop (S4)", CLAIMS,
         "if not self._heartbeats.beat(path.stem) or not os.path.lexists(path):",
         "if not self._heartbeats.beat(path.stem):", CONTENDED, "loses_at_the_merge"),
    _one("losing-is-a-try", "a task is blamed for a claim that was lost", DISPATCHER,
         "        except Lost as error:\n            self._attempts.uncount(path.name)\n",
         "        except Lost as error:\n", ROUTED, "is_no_failure"),
    _one("taken-without-lease", "Local takes over what the Cloud still works on", "utils/dispatch/leftovers.py",
         "if self._agent == LOCAL and self._other_stopped():", "if self._agent == LOCAL:",
         "tests/test_leftovers.py", "waits_for_the_lease"),
    _one("decided-begun-anew", "what waits for a decision is begun anew", DISPATCHER,
         "None if self._layout.is_planned(path.stem) or self._rests(path) else", "None if self._rests(path) else",
         ROUTED, "waits_for_a_decision"),
    _one("stop-at-the-door", "the server does not look at the kill switch", SERVERS,
         "        if stop is not None:\n            store", "        if False:\n            store",
         BRAKED, "stopped_from"),
    _one("stop-fails", "what the kill switch stops at the server's door fails", SERVERS,
         '            store.not_yet(record, "stopped")\n', "", BRAKED, "stopped_from"),
    _one("no-is-undone", "`trust` approves anew what a human took back", "utils/execution/by_move.py",
         "ended.state in (State.VOID, State.FAILED) and", "False and",
         "tests/test_approvals_moves.py", "trust_does_not_undo"),
    _one("task-of-another", "a request may finish any task that it names", "utils/core/revision.py",
         "return task if task is not None and request in request_ids(task) else None", "return task",
         "tests/test_approvals_moves.py", "moves_no_task_but"),
    _one("stop-unreadable", "a kill switch that can't be read counts as released", BRAKES,
         'return f"{stop.name} can\'t be read: {error.strerror}"', "return None if error else ''",
         BRAKED, "cannot_be_read"),
    _one("no-undo", "there is no undo window", CORE_BRAKES, "    if undo_end is not None:", "    if False:",
         BRAKED, "taken_back"),
    _one("unknown-is-free", "an unknown outcome does not count against the caps", STORE,
         "State.DONE.value, State.UNKNOWN.value,\n        )", "State.DONE.value, State.DONE.value,\n        )",
         BRAKED, "unknown_outcome_counts"),
    _one("recipient-case", "an address in capitals has a cap of its own", STORE,
         "(record.action_id, recipient.lower())", "(record.action_id, recipient)", BRAKED, "recipient_has"),
    _one("cap-off-by-one", "one more than the cap goes out", CORE_BRAKES,
         "if len(times) >= most:", "if len(times) > most:", BRAKED, "cap"),
    _one("quiet-by-utc", "quiet hours go by UTC", CORE_BRAKES,
         "local = now.astimezone(self.place)", "local = now", BRAKED, "wall_clock"),
    _one("signature-unchecked", "whoever names an enrolled key approves (S7)", APPROVER_KEYS,
         "    except (InvalidSignature, ValueError):\n        return False\n",
         "    except (InvalidSignature, ValueError):\n        return True\n", AWAY, "forged_in"),
    _one("domain-dropped", "a signature made for another purpose is an approval", REMOTE_RULE,
         "lines = [DOMAIN, *(", "lines = [*(", AWAY, "domain or vector"),
    _one("signed-nonce-left-out", "an approval is used again under another nonce (S6)", REMOTE_RULE,
         'names = ("request", "action", "sha256", "signer", "time", "expires", "nonce")',
         'names = ("request", "action", "sha256", "signer", "time", "expires")', AWAY, "vector or changed_byte"),
    _one("foreign-key-approves", "any key approves (S7)", REMOTE_RULE,
         "    if here.approver is None:\n", "    if False:\n", AWAY, "foreign_key"),
    _one("revoked-key-approves", "a revoked key approves", REMOTE_RULE,
         "    if here.approver.revoked_at is not None:", "    if False:", AWAY, "revoked_even"),
    _one("approval-replayed", "an approval counts twice (S6)", REMOTE_RULE,
         "    if here.used:\n", "    if False:\n", AWAY, "replayed"),
    _one("approval-lock-off", "two processes take one approval at once", REMOTE_USE,
         "        with locks.hold(self._lock):", "        if True:", AWAY, "two_processes"),
    _one("approval-never-expires", "an approval counts after its time", REMOTE_RULE,
         "    if statement.until(here.hours) <= here.now:", "    if False:", AWAY, "expired or live_longer"),
    _one("approval-outlives-its-action", "a signer makes an approval count for years", REMOTE_RULE,
         "min(parse_time(self.expires), self.given_at + timedelta(hours=hours))", "parse_time(self.expires)",
         AWAY, "live_longer"),
    _one("approval-of-other-action", "an approval of a reply approves a payment", REMOTE_RULE,
         "    if statement.action != here.action:", "    if False:", AWAY, "another_action"),
    _one("approval-by-anybody", "the test key of our own document approves", REMOTE_RULE,
         "    if statement.signer in PUBLISHED:", "    if False:", AWAY, "counts_nowhere"),
    _one("approval-unseen", "what never waited on Local is approved from afar (S6)", REMOTE_RULE,
         "    if not here.seen:\n", "    if False:\n", AWAY, "never_seen"),
    _one("approval-older-than-backup", "a node put back from a backup forgets what it used (S8)", REMOTE_RULE,
         "    if here.put_back_at is not None and", "    if False and", AWAY, "put_back"),
    _one("record-outlives-approval", "a record lives longer than the approval says", "utils/execution/approvals.py",
         "expires_at=min(expires, until or expires)", "expires_at=expires", AWAY, "no_longer_than_the_approval"),
    _one("forged-stops-a-move", "a forged approval weakens the human's own move", "utils/execution/by_move.py",
         "        if doubt is None:\n            try:\n",
         "        if doubt is None and not remote:\n            try:\n", AWAY, "weaken"),
    _one("key-on-the-cloud", "an approver key is made on the server that nobody trusts", "scripts/approver_key.py",
         '    """Where the private key lies: never in the vault, never on the node that is not trusted."""\n'
         "    if services.settings.draft_only:\n",
         '    """Where the private key lies: never in the vault, never on the node that is not trusted."""\n'
         "    if False:\n", "tests/test_approver_key.py", "on_the_cloud"),
    _one("chain-adopts-foreign", "a forged line that fits becomes part of the chain", ACTION_LOG,
         "        if head is not None and not self._is_old(at):\n            return head\n", "",
         CHAINED, "never_becomes"),
    _one("chain-end-unguarded", "the end of the action log can be cut", CHAIN,
         "    if head is not None and expected <= head.count:\n", "    if False:\n", CHAINED, "cut_end or any_change"),
    _one("chain-gap-unseen", "lines can be taken out of the action log", CHAIN,
         "        if seq > expected:\n", "        if False:\n", CHAINED, "first_wrong or any_change"),
    _one("chain-edit-unseen", "a line of the action log can be changed", CHAIN,
         "        elif digest is not None and chosen.prev != digest:", "        elif False:",
         CHAINED, "first_wrong or any_change"),
    _one("chain-order-unseen", "lines of the action log can change places", CHAIN,
         "        if line.file == after.file and after.seq < line.seq\n", "        if False\n",
         CHAINED, "first_wrong or any_change"),
    _one("chain-line-twice", "a crash between line and memory doubles the line", ACTION_LOG,
         '        if data not in _content(path).split(b"\\n"):\n', "        if True:\n", CHAINED, "killed_at_any"),
    _one("chain-line-unnoted", "a crash between line and memory breaks the chain", ACTION_LOG,
         "            self._remember(Head(head.count, head.digest, data))\n", "", CHAINED, "killed_at_any"),
    _one("chain-older-unguarded", "lines from before the chain can be forged", CHAIN,
         "start = first_prev(line.data for line in before) if writer == LOCAL else None", "start = None",
         CHAINED, "before_the_chain or any_change"),
    _one("odoo-fault-certain", "an unclear fault of Odoo counts as nothing happened (S8)", ODOO,
         'raise _unclear(f"Odoo broke on {what}: {last[:300]}", acting)',
         'raise AdapterError(f"Odoo broke on {what}", retry=True)',
         FAULTS, "lost_answer_to_a_payment or did_not_happen"),
    _one("odoo-lost-certain", "a lost answer of Odoo counts as nothing happened (S8)", ODOO,
         "            raise _unclear(str(lost), acting) from None",
         "            raise AdapterError(str(lost), retry=True) from None", FAULTS, "lost_answer"),
    _one("odoo-none-is-a-fault", "a success without a result counts as unknown", ODOO,
         "if text.endswith(_NO_RESULT):", "if False:", CONTRACT, "on_account"),
    _one("odoo-follows", "the key follows a redirect", ODOO,
         "allow_redirects=False", "allow_redirects=True", FAULTS, "certain and redirect"),
    _one("odoo-netrc", "a login out of .netrc takes the key's place", ODOO,
         "auth=_as_it_is", "auth=None", FAULTS, "elsewhere"),
    _one("odoo-second-draft", "a second try makes a second draft", BOOKS,
         'next((row["id"] for row in self._marked(mark) if row["state"] == "draft"), 0)', "0",
         FAULTS, "no_second_draft"),
    _one("odoo-draft-unread", "what is posted is not compared with what was approved (S6)", BOOKS,
         "if different := self._differences(row, invoice, values):", "if different := '':",
         CONTRACT, "somebody_changed"),
    _one("odoo-total-unread", "Odoo's total is not compared (S6)", BOOKS,
         "if untaxed != totals.untaxed or total not in (totals.total, totals.total_globally):", "if False:",
         FAULTS, "meddles"),
    _one("odoo-slow-is-failed", "a posting that was only slow is told as failed", BOOKS,
         "                return entry\n            raise\n", "                raise\n            raise\n",
         FAULTS, "only_slow"),
    _one("odoo-cancelled-never-was", "what was posted and taken back counts as never done (S8)", BOOKS,
         ' or row["posted_before"]', "", FAULTS, "taken_back"),
    _one("odoo-pays-again", "a payment that Odoo has is made again (S8)", BOOKS,
         "        if self.payments(mark):\n", "        if False:\n", CONTRACT, "never_made_again"),
    _one("odoo-late-is-absent", "a posting that ends after we gave up counts as never done", "utils/hands/books.py",
         "if now - asked.at >= SETTLED else Absence.NOT_YET", "", IN_BOOKS, "ends_after"),
    _one("odoo-clock-put-back", "a clock that was put back keeps an action in flight", "utils/hands/books.py",
         "    if now < asked.at:\n", "    if False:\n", IN_BOOKS, "clock_that"),
    _one("odoo-overpays", "more is paid than a bill has open", BOOKS,
         "if bill.open < payment.amount:", "if False:", CONTRACT, "more_than or pays_the_bill"),
    _one("odoo-cloud-posts", "the cloud works with a key that can post (S5)", BOOKS,
         "if not self._may_post and self._is_poster(uid):", "if False:", CONTRACT, "must_not_post"),
    _one("odoo-unprepared", "a payment's act is not kept before it counts", "utils/hands/books.py",
         "        prepared(str(Mark(self._now(), ready.prepared)))\n", "", FAULTS, "registered_once"),
    _one("payment-settles-itself", "a payment with a lost answer is called done", "utils/execution/executor.py",
         'SETTLED_BY_HAND = frozenset({"payment"})', "SETTLED_BY_HAND = frozenset()",
         IN_BOOKS, "unknown_with_evidence"),
    _one("float-amounts", "an amount may be a float", MONEY,
         "    if isinstance(value, float):\n",
         "    if isinstance(value, float):\n        value = str(value)\n    if False:\n",
         "tests/test_books.py", "no_exact_number"),
    _one("sepa-twice", "a payment file is written over", "utils/adapters/sepa.py",
         "mode=0o600, replace=False", "mode=0o600, replace=True", "tests/test_sepa.py", "writes_it_once"),
    _one("sepa-cut-short", "what is too long for the bank is cut short unseen", "utils/adapters/sepa.py",
         "if len(text) > _LONGEST[name]", "if False", "tests/test_sepa.py", "never_cut_short"),
)
# fmt: on


def misfits(root: Path) -> list[str]:
    """Mutants whose text does not occur exactly once in the tree at `root`; empty when the list is right."""
    return [
        f"{mutant.name}: {path} has its text {count} times"
        for mutant in MUTANTS
        for path, old, _ in mutant.edits
        if (count := (root / path).read_text().count(old)) != 1
    ]


def run(mutant: Mutant, copy: Path) -> tuple[str, str]:
    """`("caught", by which test)`, `("SURVIVED", "")` or `("BROKEN", why)`, in a copy that is put right again."""
    originals = {path: (copy / path).read_text() for path, _, _ in mutant.edits}
    for path, old, new in mutant.edits:
        (copy / path).write_text((copy / path).read_text().replace(old, new))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.file, "-k", mutant.only]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    for path, text in originals.items():
        (copy / path).write_text(text)
    failed = re.search(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 1 and failed:
        return "caught", failed[1]
    return ("SURVIVED", "") if done.returncode == 0 else ("BROKEN", f"pytest ended with {done.returncode}")


def _link(source: str, target: str) -> None:
    """The same file under another name: nobody writes to a package. A copy on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def main(arguments: list[str] | None = None) -> int:
    """Run the named mutants, or all; 1 where one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these only")
    parser.add_argument("--list", action="store_true", help="say what there is and run nothing")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:24} {mutant.breaks}")
        return 0
    wrong = misfits(ROOT)
    if wrong:
        print("\n".join(wrong))
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder, "tree")
        unwanted = shutil.ignore_patterns(".git", ".venv", "node_modules", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=unwanted, symlinks=True)
        packages = Path("dashboard", "node_modules")
        if (ROOT / packages).is_dir() and any(mutant.file == mutants_web.WEB for mutant in chosen):
            shutil.copytree(ROOT / packages, copy / packages, symlinks=True, copy_function=_link)
        bad = 0
        for mutant in chosen:
            started = time.monotonic()
            outcome, by = run(mutant, copy)
            bad += outcome != "caught"
            seconds = time.monotonic() - started
            print(f"{mutant.name:24} {outcome:9} {seconds:4.0f} s  {mutant.breaks}; {by}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} mutants caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
