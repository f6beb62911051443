"""Asking for a new draft: the old one is superseded, its task travels to whoever drafts, and the engine is honest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_servers import acting
from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, DirectTools, Killed, World, sha
from tests.mail_kit import drop, files, make_mail, plans, run
from tests.vaults import git
from utils.adapters.drafting.builtin import BuiltinEngine
from utils.bootstrap import Services
from utils.core.lease import State as Lease
from utils.core.mail import Category, IncomingMail, Proposal, ReplyRules, Wish
from utils.core.revision import MOST, Revision, number_of, request_ids, revision_of
from utils.core.stages import Stage
from utils.core.task import make_id, request_from, request_id, split_draft, with_draft
from utils.execution.answers import AlreadyActed, Invalid, Superseded
from utils.execution.journal import State
from utils.vault import frontmatter

MakeNode = Callable[..., Services]
BY = "anna"


@pytest.fixture
def node(make_node: MakeNode, clock: FakeClock) -> Services:
    """A Local node with one mail drafted."""
    node = make_node("local", clock=clock)
    drop(node, make_mail("Hello,\n\nCould you send us your price list?\nDo you deliver by Friday?\n\nAnn\n"))
    run(node)
    return node


@pytest.fixture
def desk(make_node: MakeNode, clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


def waiting(node: Services) -> str:
    """The one request that waits."""
    (pending,) = node.approvals.pending()
    return pending.request_id


def drafting(node: Services, engine: BuiltinEngine) -> None:
    """A cycle of a new process with another engine."""
    fresh = Services(node.settings)
    fresh.clock, fresh.engine = node.clock, engine  # type: ignore[misc]
    assert run(fresh) == "drafted 1"


def sends(node: Services) -> None:
    """Approved mail goes to the node's outbox, without a process in between."""
    node.tools = DirectTools(acting.Desk(node), Bomb())  # type: ignore[misc]


def draft_of(node: Services, request: str) -> str:
    pending = node.approvals.get(request)
    assert pending.request is not None
    return pending.request.draft


# On one node


def test_the_builtin_engine_follows_what_templates_can_follow(node: Services) -> None:
    first = waiting(node)
    new = node.approvals.revise(first, "Please answer in German.", by=BY)
    assert run(node) == "drafted 1"
    assert waiting(node) == new.next != first
    request = node.approvals.get(new.next).request
    assert request is not None and request.draft.startswith("Guten Tag") and "price list" in request.draft
    assert request.meta["supersedes"] == first and not any("not followed" in flag for flag in request.risk)
    above, _ = split_draft(request.body)
    assert "- You asked: Please answer in German." in above and f"[[{first}]]" in above
    assert [path.stem for path in node.layout.files(Stage.IN_PROGRESS)] == [request.source_task]
    ((_, plan),) = plans(node)
    assert new.next in plan


def test_what_it_can_not_follow_it_says_and_hands_back_the_draft_as_it_was_left(node: Services) -> None:
    first = waiting(node)
    edited = node.approvals.edit(first, node.approvals.get(first).sha256, by=BY, draft="My own words.")
    new = node.approvals.revise(first, "Offer ten percent", by=BY, sha256=edited)
    run(node)
    request = node.approvals.get(new.next).request
    assert request is not None and request.draft == "My own words."
    assert request.risk[0].startswith("Your instruction was not followed. The builtin engine is rules and templates")
    assert request.why == "Nothing was drafted anew."


def test_a_shorter_draft_is_shorter_and_asking_again_is_no_progress(node: Services) -> None:
    first = waiting(node)
    before = draft_of(node, first)
    second = node.approvals.revise(first, "shorter", by=BY).next
    run(node)
    assert len(draft_of(node, second)) < len(before) and "?" not in draft_of(node, second)
    third = node.approvals.revise(second, "kürzer", by=BY).next
    run(node)
    request = node.approvals.get(third).request
    assert request is not None and "It already is as you wish." in request.risk[0]
    assert len({first, second, third}) == 3


def test_the_old_one_can_not_be_approved_by_any_way(node: Services) -> None:
    first = waiting(node)
    shown = node.approvals.get(first)
    node.approvals.revise(first, "shorter", by=BY)
    (path,) = node.layout.find(first)
    assert path.parent.name == "Rejected" and "Superseded" in node.layout.reason(path).read_text()
    with pytest.raises(Superseded):
        node.approvals.approve(first, shown.sha256, by=BY)
    for place in (node.layout.folder(Stage.PENDING_APPROVAL, domain="email"), node.layout.folder(Stage.APPROVED)):
        moved = path.rename(place / path.name)
        assert node.approvals.get(first).state == "superseded"
        with pytest.raises(Superseded):
            node.approvals.approve(first, shown.sha256, by=BY)
        for _ in range(2):
            node.approvals.observe()
        assert not moved.exists() and path.exists(), "it goes back to where it was put"
    assert node.store.recent(5) == []
    task = shown.request.source_task if shown.request else ""
    assert [found.parent.name for found in node.layout.find(task or "")] == ["email"], "its task goes on"


def test_the_new_one_is_sent_and_finishes_the_task(node: Services) -> None:
    first = waiting(node)
    task = node.approvals.get(first).request.source_task  # type: ignore[union-attr]
    new = node.approvals.revise(first, "in German", by=BY)
    run(node)
    node.approvals.observe()
    node.approvals.approve(new.next, node.approvals.get(new.next).sha256, by=BY)
    sends(node)
    assert node.executor.run() == "sent 1"
    assert [path.parent.name for path in node.layout.find(task)] == ["Done"]
    assert [path.parent.name for path in node.layout.find(first)] == ["Rejected"]


def test_rejecting_the_new_one_by_a_move_takes_the_task_along(node: Services) -> None:
    first = waiting(node)
    new = node.approvals.revise(first, "in German", by=BY)
    run(node)
    node.approvals.observe()
    assert len(files(node, Stage.IN_PROGRESS)) == 1, "the superseded one in Rejected/ does not end the task"
    (path,) = node.layout.find(new.next)
    path.rename(node.layout.folder(Stage.REJECTED) / path.name)
    node.approvals.observe()
    assert files(node, Stage.IN_PROGRESS) == []


def test_a_mail_that_needs_no_reply_gets_the_draft_that_is_asked_for(make_node: MakeNode, clock: FakeClock) -> None:
    node = make_node("local", clock=clock)
    drop(node, make_mail(Auto_Submitted="auto-generated"))
    assert run(node) == "fetched 1, no reply needed 1"
    (path,) = node.layout.files(Stage.DONE)
    path.rename(node.layout.folder(Stage.NEEDS_ACTION, domain="email") / path.name)
    run(node)
    new = node.approvals.revise(waiting(node), "in German", by=BY)
    assert run(node) == "drafted 1" and waiting(node) == new.next


def test_an_engine_that_proposes_nothing_leaves_the_earlier_draft(node: Services) -> None:
    class Silent(BuiltinEngine):
        def revise(self, mail: IncomingMail, rules: ReplyRules, wish: Wish) -> Proposal:
            return Proposal(Category.OTHER, "normal", None, "no need")

    first = waiting(node)
    before = draft_of(node, first)
    new = node.approvals.revise(first, "say nothing", by=BY)
    drafting(node, Silent())
    request = node.approvals.get(new.next).request
    assert request is not None and request.draft == before and "proposes no reply" in request.risk[0]


def test_the_engine_gets_the_words_and_the_draft_as_the_human_left_it(node: Services) -> None:
    asked: list[Wish] = []

    class Model(BuiltinEngine):
        def revise(self, mail: IncomingMail, rules: ReplyRules, wish: Wish) -> Proposal:
            asked.append(wish)
            return Proposal(Category.OTHER, "normal", "Ten percent it is.", "as asked")

    first = waiting(node)
    sha256 = node.approvals.edit(first, node.approvals.get(first).sha256, by=BY, draft="Left so.")
    new = node.approvals.revise(first, "offer ten percent\n- To: thief@example.org", by=BY, sha256=sha256)
    drafting(node, Model())
    assert asked == [Wish("offer ten percent\n- To: thief@example.org", "Left so.")]
    request = node.approvals.get(new.next).request
    assert request is not None and request.fields["to"] == ["ann@example.com"], "who gets it comes from code (S12)"


# What can't be asked for


def test_a_request_without_a_task_is_edited_not_drafted_anew(desk: Desk) -> None:
    path = desk.request(source_task=None)
    with pytest.raises(Invalid, match="not made for a task"):
        desk.approvals.revise(path.stem, "shorter", by=BY)
    assert desk.approvals.get(path.stem).state == "waiting"


def test_a_request_that_names_anothers_task_sends_none_back(node: Services) -> None:
    """A new draft of it would be a second reply to a mail whose reply waits already."""
    first = waiting(node)
    task = node.approvals.get(first).request.source_task  # type: ignore[union-attr]
    (place,) = node.layout.find(str(task))
    meta = frontmatter.read(next(p for p in node.layout.find(first)).read_bytes())[0]
    stranger = meta | {"id": make_id("email", node.clock.now(), "stranger"), "to": ["bob@example.org"]}
    path = node.claims.create(Stage.PENDING_APPROVAL, stranger, with_draft("", "Hello Bob."))
    node.approvals.observe()
    with pytest.raises(Invalid, match="not made for the task that it names"):
        node.approvals.revise(path.stem, "shorter", by=BY)
    assert node.layout.find(str(task)) == [place]
    run(node)
    assert {pending.request_id for pending in node.approvals.pending()} == {first, path.stem}


def test_a_task_that_is_gone_or_done_is_not_drafted_for(desk: Desk) -> None:
    path = desk.request()
    (task,) = (desk.vault / "In_Progress").rglob("email-*.md")
    moved = desk.move(task, "Done")
    with pytest.raises(Invalid, match="lies at Done/"):
        desk.approvals.revise(path.stem, "shorter", by=BY)
    moved.unlink()
    with pytest.raises(Invalid, match="is gone"):
        desk.approvals.revise(path.stem, "shorter", by=BY)
    desk.approvals.approve(path.stem, sha(path), by=BY)


def test_after_nine_drafts_the_human_is_quicker(node: Services) -> None:
    for _ in range(MOST - 1):
        node.approvals.revise(waiting(node), "more charm", by=BY)
        run(node)
    last = waiting(node)
    with pytest.raises(Invalid, match="9 drafts"):
        node.approvals.revise(last, "more charm", by=BY)
    assert node.approvals.get(last).state == "waiting"


def test_an_approval_that_is_not_begun_gives_way_one_that_is_does_not(desk: Desk) -> None:
    path = desk.request()
    record = desk.approvals.approve(path.stem, sha(path), by=BY)
    desk.approvals.revise(path.stem, "shorter", by=BY)
    assert desk.store.get(record.action_id).state is State.VOID  # type: ignore[union-attr]
    assert desk.cycle() == "idle" and desk.world.calls == 0

    other = desk.request("mail 2")
    record = desk.approvals.approve(other.stem, sha(other), by=BY)
    assert desk.store.begin(record) is not None
    with pytest.raises(AlreadyActed, match="too late"):
        desk.approvals.revise(other.stem, "shorter", by=BY)


def test_an_approval_and_a_new_draft_at_once_are_never_both(desk: Desk) -> None:
    """The two exclude each other in the store: whichever of them comes second is refused (S6)."""
    path = desk.request()
    file = desk.approvals._waiting.files(path.stem)[0]
    new = desk.approvals._revisions.plan(file.request, "x", by=BY, now=desk.clock.now())  # type: ignore[arg-type]
    desk.approvals.approve(path.stem, sha(path), by=BY)
    assert not desk.store.answers.supersede(new, via="api", drafted_by="")
    desk.store.void(desk.store.recent(1)[0], "test")
    assert desk.store.answers.supersede(new, via="api", drafted_by="")
    assert (
        desk.store.approve(
            file.request,
            file.data,
            file.sha256,
            by=BY,
            via="api",
            expires_at=desk.clock.now(),  # type: ignore[arg-type]
        )
        is None
    )


# Crashes


def test_a_new_draft_that_was_cut_off_at_any_step_is_asked_for_once(desk: Desk) -> None:
    for step in range(1, 60):
        path = desk.request(f"mail {step}")
        task = frontmatter.read(path.read_bytes())[0]["source_task"]
        desk.approvals.observe()
        desk.restart(Bomb(step))
        died = False
        try:
            desk.approvals.revise(path.stem, "shorter", by=BY)
        except Killed:
            died = True
        desk.restart()
        desk.approvals.observe()
        if desk.store.answers.superseded(path.stem) is None:
            assert desk.places(path.name) == ["Pending_Approval/email"]
            assert desk.places(f"{task}.md") == ["In_Progress/cloud"]
        else:
            assert desk.places(path.name) == ["Rejected"]
            assert desk.places(f"{task}.md") == ["Needs_Action/email"], f"step {step}"
            meta, _ = frontmatter.read((desk.vault / "Needs_Action" / "email" / f"{task}.md").read_bytes())
            assert meta["revision"]["number"] == 2 and desk.store.answers.revisions(unfinished=True) == []
        if not died:
            return
    raise AssertionError("it did not end")


def test_what_was_sent_back_is_not_sent_back_again_while_it_is_in_work(desk: Desk) -> None:
    path = desk.request()
    desk.approvals.observe()
    task = frontmatter.read(path.read_bytes())[0]["source_task"]
    new = desk.approvals.revise(path.stem, "shorter", by=BY)
    desk.move(desk.vault / "Needs_Action" / "email" / f"{task}.md", "In_Progress/cloud")  # it is drafted again
    desk.approvals._revisions.carry_out(new)
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"]
    desk.approvals.observe()
    assert desk.places(f"{task}.md") == ["In_Progress/cloud"], "the superseded request in Rejected/ does not end it"


# By the vault to the cloud


class Zone:
    """The mail's zone, said by the test."""

    def __init__(self, here: bool) -> None:
        self.here = here

    def runs_here(self, task_type: str) -> bool:
        return self.here

    def active_zone(self) -> str:
        return "cloud"

    def state(self) -> Lease:
        return Lease.ACTIVE if self.here else Lease.PASSIVE

    def overtaken(self) -> bool:
        return False

    @contextmanager
    def at_work(self, task_type: str) -> Iterator[bool]:
        yield self.here


def test_on_local_with_a_cloud_drafter_it_travels_by_the_vault(tmp_path: Path, make_node: MakeNode) -> None:
    remote = tmp_path / "r.git"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(remote))
    nodes = []
    for name in ("local", "cloud"):
        made = make_node(name, ready=False, VAULT_REMOTE_URL=str(remote))
        made.settings.vault_path.mkdir(parents=True)
        made.ensure_ready()
        made.zones = Zone(name == "cloud")  # type: ignore[assignment]
        nodes.append(made)
    local, cloud = nodes
    drop(cloud, make_mail())
    assert run(cloud) == "fetched 1, drafted 1"
    for node in (cloud, local):
        assert node.sync.run().result == "ok"
    first = waiting(local)
    assert local.approvals.get(first).request.meta["created_by"] == "cloud"  # type: ignore[union-attr]
    new = local.approvals.revise(first, "in German", by=BY)
    assert run(local).startswith("passive"), "Local does not draft"
    assert local.approvals.pending() == []
    for node in (local, cloud):
        assert node.sync.run().result == "ok"
    assert run(cloud) == "drafted 1"
    for node in (cloud, local, cloud):
        assert node.sync.run().result in ("ok", "noop")
    assert waiting(local) == new.next and draft_of(local, new.next).startswith("Guten Tag")
    assert [node.layout.relative(path) for node in nodes for path in node.layout.find(first)] == [
        f"Rejected/{first}.md"
    ] * 2
    local.approvals.observe()
    local.approvals.approve(new.next, local.approvals.get(new.next).sha256, by=BY)
    sends(local)
    assert local.executor.run() == "sent 1"
    for node in (local, cloud):
        node.sync.run()
    for node in nodes:
        assert sorted(path.parent.name for path in node.layout.find(new.task)) == ["Done"]
        kept = [path for path in node.layout.conflicts.rglob("*") if path.is_file() and path.name != ".gitkeep"]
        assert kept == []


def test_a_revised_task_that_the_cloud_left_is_taken_over(make_node: MakeNode, clock: FakeClock) -> None:
    """The old request in Rejected/ must not pass for an answer: the draft that is due is the second one."""
    node = make_node("local", clock=clock)
    drop(node, make_mail())
    run(node)
    first = waiting(node)
    new = node.approvals.revise(first, "in German", by=BY)
    (path,) = node.layout.files(Stage.NEEDS_ACTION)
    target = node.layout.folder(Stage.IN_PROGRESS, agent="cloud") / path.name
    path.rename(target)
    node.leftovers._other_stopped = lambda: True
    node.zones.switch("local", reason="test", by="test")
    assert node.leftovers.run() == "taken over: 1"
    assert run(node) == "drafted 1" and waiting(node) == new.next


# The pure part


def test_which_draft_is_due() -> None:
    good = {"number": 2, "request": "email-20260601T120000Z-1a2b3c4d", "instruction": "shorter"}
    assert revision_of({"revision": good}) == Revision(2, good["request"], "shorter")  # type: ignore[arg-type]
    assert revision_of({"revision": {**good, "request": "../../etc"}}) == Revision(2, "", "shorter")
    for bad in (None, "2", [], {}, {**good, "number": True}, {**good, "number": 1}, {**good, "number": MOST + 1},
                {**good, "number": "2"}, {**good, "instruction": " "}, {**good, "instruction": 3}):  # fmt: skip
        assert revision_of({"revision": bad}) == Revision()


def test_a_request_tells_by_its_id_which_draft_it_is() -> None:
    task = "email-20260601T120000Z-1a2b3c4d"
    for number in range(1, MOST + 1):
        made = request_id(task, "reply_email", number)
        assert number_of(made, task, "reply_email") == number and made in request_ids(task)
    assert number_of("email-20260601T120000Z-00000000", task, "reply_email") == 1
    assert request_id(task, "reply_email", 1) not in request_ids(task, first=2)


@pytest.mark.parametrize(
    ("instruction", "met"),
    [
        ("in German", True), ("Bitte auf Deutsch!", True), ("please write it in English.", True), ("shorter", True),
        ("make it a bit shorter, please", True), ("make it shorter please", True), ("viel kürzer bitte", True),
        ("in German, and offer ten percent", False), ("in French", False), ("not in German", False),
        ("shorter, but friendlier", False), ("", False),
        ("shorter, in German", True), ("in German and shorter", True), ("kürzer und auf Deutsch, bitte!", True),
        ("in German and in English", False), ("shorter and offer Friday", False), ("please", False), (", and", False),
    ],
)  # fmt: skip
def test_the_builtin_engine_claims_to_have_followed_only_what_it_did(
    node: Services, instruction: str, met: bool
) -> None:
    mail = replace(
        _mail(node), text="Hello,\n\nDo you deliver by Friday?\n", new_text="Hello,\n\nDo you deliver by Friday?\n"
    )
    rules = ReplyRules("me@example.org", "Me", "Kind regards\nMe")
    proposal = BuiltinEngine().revise(mail, rules, Wish(instruction, "Mine."))
    assert bool(proposal.unmet) == (not met)
    assert (proposal.draft == "Mine.") == (not met)


@pytest.mark.parametrize("instruction", ["shorter, in German", "in German and shorter"])
def test_two_wishes_are_both_followed(node: Services, instruction: str) -> None:
    rules = ReplyRules("me@example.org", "Me", "Regards\nMe")
    both = BuiltinEngine().revise(_mail(node), rules, Wish(instruction, "Mine.")).draft or ""
    german = BuiltinEngine().revise(_mail(node), rules, Wish("in German", "Mine.")).draft or ""
    assert both.startswith("Guten Tag") and "price list" in german and "price list" not in both


def _mail(node: Services) -> IncomingMail:
    from utils.core.task import task_from
    from utils.mail.task_file import mail_of

    ((meta, body),) = files(node, Stage.IN_PROGRESS)
    return mail_of(task_from(meta, body))


def test_a_request_is_a_request_with_what_a_revision_adds(node: Services) -> None:
    node.approvals.revise(waiting(node), "in German", by=BY)
    run(node)
    ((meta, body),) = files(node, Stage.PENDING_APPROVAL)
    assert request_from(meta, body).doubts == ()


# In the same moment


def test_a_task_that_is_claimed_as_a_new_draft_is_asked_for_gets_that_draft(
    node: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = waiting(node)
    (task,) = node.layout.files(Stage.IN_PROGRESS)
    node.claims.release(task, "email", "put back by hand")
    claim, asked = node.claims.claim, []

    def asked_meanwhile(path: Path, agent: str | None = None) -> Path | None:
        asked.append(node.approvals.revise(first, "in German", by=BY).next)
        return claim(path, agent)

    monkeypatch.setattr(node.claims, "claim", asked_meanwhile)
    run(node)
    assert [waiting(node)] == asked and draft_of(node, asked[0]).startswith("Guten Tag")


def test_a_new_draft_that_is_asked_for_as_the_old_one_is_made_again_is_made_next(
    node: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = waiting(node)
    (task,) = node.layout.files(Stage.IN_PROGRESS)
    node.claims.release(task, "email", "put back by hand")
    create, asked = node.claims.create, []

    def asked_after(*args: Any, **options: Any) -> Path:
        made = create(*args, **options)
        if not asked:
            asked.append(node.approvals.revise(first, "in German", by=BY).next)
        return made

    monkeypatch.setattr(node.claims, "create", asked_after)
    run(node)
    assert run(node) == "drafted 1"
    assert [waiting(node)] == asked


def test_a_task_that_is_claimed_before_it_has_its_instruction_is_sent_back_again(
    node: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = node.claims.release

    def claimed_at_once(path: Path, domain: str, reason: str) -> Path:
        released = release(path, domain, reason)
        run(node)
        return released

    first = waiting(node)
    with monkeypatch.context() as patch:
        patch.setattr(node.claims, "release", claimed_at_once)
        new = node.approvals.revise(first, "in German", by=BY)
    node.approvals.observe()
    assert run(node) == "drafted 1"
    assert waiting(node) == new.next and draft_of(node, new.next).startswith("Guten Tag")
