"""Approvals that are given elsewhere than on Local: what counts, what waits, and why (promises S5, S6, S7)."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api_client import Api, add_request, add_task
from tests.conftest import FakeClock
from tests.fakes.desk import Bomb, Desk, Killed, World, sha
from tests.vaults import git
from utils.adapters import approver_keys
from utils.adapters.approver_keys import ApproverKeys
from utils.bootstrap import Services
from utils.core import remote_approval
from utils.core.policy import may_write
from utils.core.remote_approval import Approver, BadStatement, Circumstances, Statement, encode
from utils.core.stages import Stage
from utils.execution.journal import State
from utils.execution.remote import RemoteApprovals
from utils.execution.requests import RequestFile
from utils.settings import PROJECT_ROOT
from utils.vault import locks

DOCUMENT = (PROJECT_ROOT / "docs/approvals-signing.md").read_text(encoding="utf-8")
RFC_8032_TEST_1 = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


class Phone:
    """A device with a key, on which a person approves."""

    def __init__(self, desk: Desk, name: str = "ada-phone", *, enrolled: bool = True) -> None:
        self.desk = desk
        self.name = name
        self._key = Ed25519PrivateKey.generate()
        self.public = encode(self._key.public_key().public_bytes_raw())
        if enrolled:
            ApproverKeys(desk.node.settings.keys_dir).enrol(name, self.public, desk.clock.now())

    def sign(self, path: Path, **other: str) -> Statement:
        """The approval of what lies at `path`; `other` values are signed instead."""
        made = self.desk.node.remote_approvals.prepare(path.stem, sha(path), self.public)
        made = dataclasses.replace(made, **other)
        return made.signed(self._key.sign(made.to_sign()))

    def approve(self, path: Path, **other: str) -> Path:
        """… and it arrives by a sync."""
        return arrives(self.desk, self.sign(path, **other))


def arrives(desk: Desk, statement: Statement, name: str | None = None) -> Path:
    folder = desk.vault / "Updates" / "approvals"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (name or statement.name)).write_bytes(statement.file())
    return folder / (name or statement.name)


def lying(desk: Desk) -> list[str]:
    return [path.name for path in (desk.vault / "Updates" / "approvals").glob("*")]


def doubted(desk: Desk, path: Path, word: str) -> None:
    """It made no record, however often we look; the note and one alert say why; a confirmation here is enough."""
    for _ in range(3):
        assert desk.cycle() in ("idle", "waiting for a confirmation 1")
    assert desk.store.recent(5) == [] and desk.world.calls == 0
    shown = desk.approvals.get(path.stem)
    assert shown.reason and "approved remotely" in shown.reason and word in shown.reason, shown.reason
    told = [(level, text) for level, title, text in desk.alerts if "waits for a confirmation" in title]
    assert [level for level, _ in told] == ["INFO"] and word in told[0][1]
    desk.approvals.approve(path.stem, shown.sha256, by="anna")
    assert desk.cycle() == "sent 1"


@pytest.fixture
def desk(make_node: Callable[..., Services], clock: FakeClock) -> Desk:
    return Desk(make_node, clock, World())


@pytest.fixture
def waiting(desk: Desk) -> Path:
    """A request that Local has seen wait."""
    path = desk.request()
    desk.approvals.observe()
    return path


# What counts


def test_what_an_enrolled_key_signed_is_executed_once(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    assert desk.cycle() == "sent 1"
    (record,) = desk.store.recent(5)
    assert record.approved_by == "ada-phone" and record.via.startswith("signed:")
    assert desk.places(waiting.name) == ["Done"] and lying(desk) == []
    assert desk.action_log()[0]["approver"] == "ada-phone"
    assert [title for _, title, _ in desk.alerts] == []


def test_who_is_enrolled_can_not_be_read(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    file = desk.node.settings.keys_dir / "approvers.json"
    whole = file.read_bytes()
    file.write_bytes(b"{")
    for _ in range(3):
        assert desk.cycle() == "idle"
    ((_, title, text),) = desk.alerts
    assert title == f"{waiting.stem} waits for a confirmation" and "approvers.json" in text
    assert text.partition(": ")[2] in (desk.approvals.get(waiting.stem).reason or "")
    file.write_bytes(whole)
    assert desk.cycle() == "sent 1"


def test_request_and_approval_may_arrive_together(desk: Desk) -> None:
    Phone(desk).approve(desk.request())
    assert desk.cycle() == "sent 1"


def test_a_signature_is_a_confirmation_where_a_move_is_none(desk: Desk) -> None:
    path = desk.request(cc=["new@example.net"], verified=False)
    desk.approvals.observe()
    Phone(desk).approve(path)
    desk.in_git.add((f"Approved/{path.name}", path.read_bytes()))
    desk.move(path, "Approved")  # the phone moved it too
    assert desk.cycle() == "sent 1"
    assert not any("confirmation" in title for _, title, _ in desk.alerts)


def test_a_signed_payment_makes_a_record_an_unsigned_one_never_even_under_trust(desk: Desk) -> None:
    desk.trust = True
    desk.restart()
    bill = {"action": "payment", "payee": "ACME", "currency": "EUR", "in_reply_to": None}
    signed = desk.request("bill 1", amount="10.00", reference="R1", **bill)
    bare = desk.request("bill 2", amount="20.00", reference="R2", **bill)
    desk.approvals.observe()
    Phone(desk).approve(signed)
    arrives(desk, desk.node.remote_approvals.prepare(bare.stem, sha(bare)))
    desk.approvals.observe()
    assert [(record.request_id, record.action) for record in desk.store.recent(5)] == [(signed.stem, "payment")]
    assert desk.store.recent(1)[0].expires_at <= desk.clock.now() + timedelta(hours=1)


def test_the_record_lives_no_longer_than_the_approval(desk: Desk, waiting: Path) -> None:
    until = desk.clock.now() + timedelta(minutes=10)
    Phone(desk).approve(waiting, expires=f"{until:%Y-%m-%dT%H:%M:%SZ}")
    desk.approvals.observe()
    assert desk.store.recent(1)[0].expires_at == until


# What waits, and why


def test_unsigned(desk: Desk, waiting: Path) -> None:
    arrives(desk, desk.node.remote_approvals.prepare(waiting.stem, sha(waiting)))
    doubted(desk, waiting, "nobody signed it")


def test_foreign_key(desk: Desk, waiting: Path) -> None:
    Phone(desk, enrolled=False).approve(waiting)
    doubted(desk, waiting, "not enrolled")


def test_forged_in_an_enrolled_keys_name(desk: Desk, waiting: Path) -> None:
    phone, thief = Phone(desk), Phone(desk, "thief", enrolled=False)
    arrives(desk, dataclasses.replace(thief.sign(waiting), signer=phone.public))
    doubted(desk, waiting, "its signature is wrong")


def test_revoked_even_if_signed_before(desk: Desk, waiting: Path) -> None:
    phone = Phone(desk)
    phone.approve(waiting)
    desk.clock.advance(60)
    ApproverKeys(desk.node.settings.keys_dir).revoke("ada-phone", desk.clock.now())
    doubted(desk, waiting, "the key of ada-phone was revoked")


def test_expired(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting, expires=f"{desk.clock.now() + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}")
    desk.clock.advance(61)
    doubted(desk, waiting, "it expired at 2026-06-01 12:01")
    assert lying(desk) == []


def test_no_signer_makes_it_live_longer_than_its_action(desk: Desk) -> None:
    path = desk.request(expires="2030-01-01T00:00:00Z")
    desk.approvals.observe()
    Phone(desk).approve(path, time="2026-06-01T11:00:00Z", expires="2030-01-01T00:00:00Z")
    desk.clock.advance(23 * 3600)  # the request itself has an hour left
    doubted(desk, path, "it expired at 2026-06-02 11:00")


def test_given_in_the_future(desk: Desk, waiting: Path) -> None:
    later = desk.clock.now() + timedelta(minutes=6)
    Phone(desk).approve(waiting, time=f"{later:%Y-%m-%dT%H:%M:%SZ}")
    doubted(desk, waiting, "yet to come")


def test_a_clock_a_little_ahead_is_borne(desk: Desk, waiting: Path) -> None:
    later = desk.clock.now() + timedelta(minutes=4)
    Phone(desk).approve(waiting, time=f"{later:%Y-%m-%dT%H:%M:%SZ}")
    assert desk.cycle() == "sent 1"


def test_edited_after_it_was_signed(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    waiting.write_bytes(waiting.read_bytes().replace(b"Kind regards", b"Send money"))
    doubted(desk, waiting, "other words")


def test_swapped_with_another_request(desk: Desk, waiting: Path) -> None:
    other = desk.request("mail 2", task=False)
    desk.approvals.observe()
    Phone(desk).approve(other, request=waiting.stem)
    doubted(desk, waiting, "other words")


def test_another_action(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting, action="payment")
    doubted(desk, waiting, "another action (payment)")


def test_never_seen_waiting_here(desk: Desk) -> None:
    path = desk.request()
    Phone(desk).approve(path)
    doubted(desk, desk.move(path, "Approved"), "never seen waiting here")


def test_put_back_from_a_backup_since(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    desk.clock.advance(3600)
    desk.put_back_at = desk.clock.now()
    desk.clock.advance(1)
    doubted(desk, waiting, "put back from a backup")


def test_a_forged_approval_does_not_weaken_the_humans_own_move(desk: Desk, waiting: Path) -> None:
    Phone(desk, enrolled=False).approve(waiting)
    desk.approvals.observe()
    desk.move(waiting, "Approved")
    assert desk.cycle() == "sent 1"


def test_an_approval_for_what_does_not_lie_here_waits_and_goes_in_time(desk: Desk, waiting: Path) -> None:
    aside = waiting.read_bytes()
    Phone(desk).approve(waiting)
    waiting.unlink()
    assert desk.cycle() == "idle" and len(lying(desk)) == 1
    waiting.write_bytes(aside)
    assert desk.cycle() == "sent 1"
    Phone(desk, "other").approve(again := desk.request("mail 2"))
    again.unlink()
    desk.cycle()
    assert len(lying(desk)) == 1
    desk.clock.advance(24 * 3600)
    desk.cycle()
    assert lying(desk) == []


def test_a_damaged_list_of_approvers_lets_nobody_in_and_stops_nothing_else(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    keys = ApproverKeys(desk.node.settings.keys_dir).path
    whole = keys.read_bytes()
    keys.write_bytes(whole[:-9])
    other = desk.request("mail 2")
    desk.approvals.observe()
    desk.move(other, "Approved")
    assert desk.cycle() == "sent 1" and desk.places(other.name) == ["Done"]
    keys.write_bytes(whole)
    assert desk.cycle() == "sent 1" and desk.places(waiting.name) == ["Done"]


# Once


@pytest.mark.parametrize("name", [None, "again.json"])
def test_replayed(desk: Desk, waiting: Path, name: str | None) -> None:
    """The action failed, so the very same words ask again; the old approval is put there once more."""
    statement = Phone(desk).sign(waiting)
    arrives(desk, statement)
    desk.approvals.observe()
    record = desk.store.recent(1)[0]
    assert desk.store.void(record, "taken back")
    desk.move(desk.vault / "Approved" / waiting.name, "Pending_Approval/email")
    desk.approvals.observe()
    assert desk.store.was_seen(waiting.stem, sha(waiting))
    arrives(desk, statement, name)
    desk.cycle()
    assert [old.state for old in desk.store.recent(5)] == [State.VOID] and desk.world.calls == 0
    assert "was used before" in (desk.approvals.get(waiting.stem).reason or "")
    Phone(desk, "other").approve(waiting)
    assert desk.cycle() == "sent 1"


def test_replayed_after_it_was_sent(desk: Desk, waiting: Path) -> None:
    statement = Phone(desk).sign(waiting)
    arrives(desk, statement)
    assert desk.cycle() == "sent 1"
    arrives(desk, statement)
    desk.move(desk.vault / "Done" / waiting.name, "Pending_Approval/email")
    assert desk.cycle() == "executed before 1" and desk.cycle() == "idle"
    assert desk.world.calls == 1 and lying(desk) == []
    told = [(level, text) for level, title, text in desk.alerts if "does not count" in title]
    assert [level for level, _ in told] == ["WARNING"] and "used before" in told[0][1] and "ada-phone" in told[0][1]
    events = desk.store.events(desk.store.recent(1)[0].action_id)
    assert [event["detail"] for event in events if "changed nothing" in event["event"]] == [
        "this approval was used before: each counts once"
    ]


def test_a_revoked_key_for_what_is_approved_already_is_told(desk: Desk, waiting: Path) -> None:
    thief = Phone(desk, "lost-phone")
    statement = thief.sign(waiting)
    desk.approvals.approve(waiting.stem, sha(waiting), by="anna")
    ApproverKeys(desk.node.settings.keys_dir).revoke("lost-phone", desk.clock.now())
    arrives(desk, statement)
    assert desk.cycle() == "sent 1" and lying(desk) == []
    ((level, title, text),) = desk.alerts
    assert (level, title) == ("WARNING", f"An approval of {waiting.stem} does not count")
    assert "the key of lost-phone was revoked" in text and "Nothing was done" in text


def test_a_second_honest_approval_is_no_news(desk: Desk, waiting: Path) -> None:
    statements = [Phone(desk, name).sign(waiting) for name in ("one", "two")]
    arrives(desk, statements[0])
    assert desk.cycle() == "sent 1"
    arrives(desk, statements[1])
    assert desk.cycle() == "idle" and lying(desk) == [] and desk.alerts == []


def test_replayed_again_it_has_its_note_again(desk: Desk, waiting: Path) -> None:
    statement = Phone(desk).sign(waiting)
    arrives(desk, statement)
    desk.approvals.observe()
    for by in ("anna", None):
        record = desk.store.live(waiting.stem)
        assert record is not None and desk.store.void(record, "taken back")
        desk.move(desk.vault / "Approved" / waiting.name, "Pending_Approval/email")
        note = desk.node.layout.reason(waiting)
        note.unlink(missing_ok=True)
        arrives(desk, statement)
        desk.approvals.observe()
        assert "was used before" in note.read_text()
        if by:
            desk.approvals.approve(waiting.stem, sha(waiting), by=by)


def test_two_processes_do_not_ask_at_once_whether_it_was_used(desk: Desk, waiting: Path) -> None:
    Phone(desk).approve(waiting)
    lock = desk.node.settings.state_dir / "locks" / "remote_approvals.lock"
    held: list[bool] = []
    desk.node.remote_approvals.take(lambda *given, **more: held.append(locks.is_held(lock)))
    assert held == [True] and not locks.is_held(lock)


def test_of_two_signers_one_makes_the_record(desk: Desk, waiting: Path) -> None:
    Phone(desk, "one").approve(waiting)
    Phone(desk, "two").approve(waiting)
    assert desk.cycle() == "sent 1"
    assert len(desk.store.recent(5)) == 1 and lying(desk) == []


def test_killed_at_any_step_it_is_one_record_and_one_mail(make_node: Callable[..., Services], tmp_path: Path) -> None:
    for step in range(1, 100):
        home = tmp_path / str(step)
        (home / "vault").mkdir(parents=True)

        def make(name: str, home: Path = home, **options: str) -> Services:
            return make_node(name, **options, VAULT_PATH=str(home / "vault"), STATE_DIR=str(home / "state"))

        desk = Desk(make, FakeClock(), World(conclusive=True))
        path = desk.request()
        desk.approvals.observe()
        Phone(desk).approve(path)
        desk.restart(Bomb(step))
        died = False
        try:
            desk.cycle()
        except Killed:
            died = True
        desk.restart()
        for _ in range(4):
            desk.cycle()
            desk.clock.advance(600)
        assert len(desk.world.ledger) == 1 and desk.places(path.name) == ["Done"], step
        assert len(desk.store.recent(5)) == 1 and lying(desk) == [], step
        if not died:
            assert step > 10
            return
    raise AssertionError("the history did not end")


def test_revoking_voids_what_was_not_begun(desk: Desk, waiting: Path) -> None:
    phone = Phone(desk)
    phone.approve(waiting)
    desk.approvals.observe()
    approver = ApproverKeys(desk.node.settings.keys_dir).revoke("ada-phone", desk.clock.now())
    assert approver and desk.node.remote_approvals.withdraw(approver) == 1
    assert desk.cycle() == "waiting for a confirmation 1" and desk.world.calls == 0


# Every byte


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_byte_of_an_approval_counts_as_another_approval(desk: Desk, where: int, bit: int) -> None:
    """A flipped bit makes it unreadable, or doubted, or leaves its meaning as it was (white space)."""
    path = next(iter((desk.vault / "Pending_Approval").rglob("*.md")), None) or desk.request()
    desk.approvals.observe()
    keys = ApproverKeys(desk.node.settings.keys_dir)
    phone = Phone(desk, "ada-phone", enrolled=not keys.all())
    if phone.public not in {known.key for known in keys.all()}:
        keys.revoke("ada-phone", desk.clock.now())
        keys.enrol("ada-phone", phone.public, desk.clock.now())
    statement = phone.sign(path)
    data = bytearray(statement.file())
    data[where % len(data)] ^= 1 << bit
    try:
        changed = remote_approval.read(bytes(data))
    except BadStatement:
        return
    assert changed == statement or desk.node.remote_approvals.doubt(changed) is not None


@given(st.dictionaries(st.sampled_from(["request", "action", "sha256", "signer", "time", "nonce", "x"]), st.text()))
def test_whatever_lies_there_is_read_or_refused(values: dict[str, str]) -> None:
    with pytest.raises(BadStatement):
        remote_approval.from_values(values)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 9000, b'{"type": "approval"}' + b" " * 9000])
def test_what_is_no_approval_is_passed_over(desk: Desk, waiting: Path, data: bytes) -> None:
    folder = desk.vault / "Updates" / "approvals"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(data)
    (folder / "b.json").symlink_to(waiting)
    (folder / "c.json").mkdir()
    Phone(desk).approve(waiting)
    assert desk.cycle() == "sent 1"


def test_however_much_lies_before_it_a_signed_approval_counts(desk: Desk, waiting: Path) -> None:
    signed = Phone(desk).approve(waiting)
    for number in range(600):
        (signed.parent / f"!{number:03}.json").write_text("{}")
        arrives(desk, dataclasses.replace(_bare(desk, waiting), request=f"email-20260601T090000Z-{number:08x}"))
    assert desk.cycle() == "sent 1"
    assert desk.places(waiting.name) == ["Done"]


def _bare(desk: Desk, path: Path) -> Statement:
    return desk.node.remote_approvals.prepare(path.stem, sha(path))


def test_what_is_no_approval_is_told_once_and_not_read_again(
    desk: Desk, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = desk.vault / "Updates" / "approvals"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number:02}.json").write_text("{}")
    desk.cycle()
    monkeypatch.setattr(remote_approval, "read", lambda data: pytest.fail("it was read before"))
    desk.cycle()
    monkeypatch.undo()
    desk.restart()
    desk.cycle()
    ((level, title, text),) = desk.alerts
    assert (level, title) == ("WARNING", "Files in Updates/approvals/ are no approvals")
    assert "- Updates/approvals/00.json: " in text and "… and 2 more" in text
    (folder / "05.json").write_text("[]")
    desk.cycle()
    assert desk.alerts[1][2].startswith("- Updates/approvals/05.json: ") and "06" not in desk.alerts[1][2]


def test_an_approval_that_can_not_be_taken_in_holds_up_no_other(
    desk: Desk, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = sorted([waiting, desk.request("mail 2")])
    desk.approvals.observe()
    phone = Phone(desk)
    for number, path in enumerate((bad, good)):
        arrives(desk, phone.sign(path), f"{number}.json")
    doubt = RemoteApprovals.doubt

    def failing(self: RemoteApprovals, statement: Statement, file: RequestFile | None = None) -> str | None:
        if statement.request == bad.stem:
            raise RuntimeError("a mistake of ours")
        return doubt(self, statement, file)

    monkeypatch.setattr(RemoteApprovals, "doubt", failing)
    assert desk.cycle() == "sent 1"
    assert desk.places(good.name) == ["Done"] and "0.json" in lying(desk)


# The format


def vector() -> Statement:
    block = re.search(r"```json\n(\{.*?\})\n```", DOCUMENT, re.DOTALL)
    assert block
    return remote_approval.read(block[1].encode())


def test_the_documents_test_vector_holds() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032_TEST_1))
    statement = vector()
    assert RFC_8032_TEST_1 in DOCUMENT and statement.signer == encode(key.public_key().public_bytes_raw())
    unsigned = dataclasses.replace(statement, signature="")
    assert unsigned.signed(key.sign(unsigned.to_sign())) == statement
    assert approver_keys.is_genuine(statement)
    block = re.search(r"```\n(ai-employee.*?)```", DOCUMENT, re.DOTALL)
    assert block and re.sub("=.*", "=…", statement.to_sign().decode()) == block[1]


def test_its_key_counts_nowhere_even_where_an_earlier_version_enrolled_it() -> None:
    statement = vector()
    here = Circumstances(
        action=statement.action, sha256=statement.sha256, approver=Approver("ada", statement.signer, statement.time),
        genuine=True, seen=True, used=False, hours=24, put_back_at=None, now=statement.given_at,
    )  # fmt: skip
    assert remote_approval.doubt(statement, here) == remote_approval.PUBLISHED_WORDS


def test_the_domain_keeps_it_apart_from_other_signatures() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032_TEST_1))
    statement = vector()
    bare = statement.to_sign().partition(b"\n")[2]
    assert not approver_keys.is_genuine(statement.signed(key.sign(bare)))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: WebCrypto outside a browser")
def test_what_webcrypto_signs_as_the_document_has_it_is_genuine() -> None:
    block = re.search(r"```js\n(.*?)```", DOCUMENT, re.DOTALL)
    assert block
    asked = {"request": "email-20260601T090000Z-0123abcd", "action": "reply_email", "sha256": "0" * 64, "hours": 1}
    script = (
        f"{block[1]}\n(async () => console.log(JSON.stringify(await approve(await makeKey(), {json.dumps(asked)}))))();"
    )
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    statement = remote_approval.read(done.stdout.encode())
    assert approver_keys.is_genuine(statement) and statement.action == "reply_email"
    assert statement.until(24) == statement.given_at + timedelta(hours=1)


def test_an_approval_is_no_secret_to_the_scanner(desk: Desk, waiting: Path) -> None:
    assert desk.node.secrets.find(Phone(desk).sign(waiting).file()) is None


# On the Cloud


@pytest.fixture
def cloud(make_node: Callable[..., Services], clock: FakeClock) -> tuple[Services, Api, str, str]:
    node = make_node("cloud", clock=clock)
    api = Api(node)
    request = add_request(node, add_task(node, "1", clock.now()), clock.now())
    return node, api, request, api.get(f"/api/approvals/{request}")["sha256"]


def test_the_clouds_api_passes_an_approval_on(cloud: tuple[Services, Api, str, str]) -> None:
    node, api, request, digest = cloud
    answer = api.post(f"/api/approvals/{request}/approve", sha256=digest)
    assert answer["state"] == "approved_remotely" and not answer["signed"] and "confirmation" in answer["detail"]
    assert may_write("cloud", answer["path"]) and answer["path"].startswith("Updates/approvals/")
    assert api.post(f"/api/approvals/{request}/approve", sha256=digest) == answer
    [shown] = api.get("/api/approvals")["items"]
    assert shown["approved_remotely"]["signed"] is False and shown["approved_remotely"]["words"] == shown["reason"]
    assert "waits for Local's confirmation" in shown["reason"]
    statement = remote_approval.read((node.layout.root / answer["path"]).read_bytes())
    assert (statement.request, statement.sha256, statement.signature) == (request, digest, "")
    assert node.layout.stage_of(node.layout.find(request)[0]) is Stage.PENDING_APPROVAL
    assert node.store.recent() == []
    api.refused(409, "POST", f"/api/approvals/{request}/approve", json={"sha256": "0" * 64})


def test_the_clouds_api_takes_what_a_browser_signed_and_nothing_else(cloud: tuple[Services, Api, str, str]) -> None:
    node, api, request, digest = cloud
    key = Ed25519PrivateKey.generate()
    public = encode(key.public_key().public_bytes_raw())
    made = node.remote_approvals.prepare(request, digest, public)
    signed = made.signed(key.sign(made.to_sign()))
    path = f"/api/approvals/{request}/approve"
    values = json.loads(signed.file())
    for wrong in ({**values, "nonce": "x"}, {}, {**values, "more": 1}):
        assert (
            "approvals-signing.md"
            in api.refused(400, "POST", path, json={"sha256": digest, "approval": wrong})["detail"]
        )
    for wrong in ({"action": "payment"}, {"nonce": "0" * 32}, {"request": "email-20260601T090000Z-00000000"}):
        api.refused(409, "POST", path, json={"sha256": digest, "approval": {**values, **wrong}})
    answer = api.post(path, sha256=digest, approval=values)
    assert answer["signed"] and answer["until"] == signed.expires
    shown = api.get(f"/api/approvals/{request}")
    assert shown["approved_remotely"]["signed"] is True and shown["approved_remotely"]["at"] == signed.time
    assert "Local carries it out after it verified the signature" in shown["reason"]
    assert remote_approval.read((node.layout.root / answer["path"]).read_bytes()) == signed


def test_local_takes_its_own_word_only(make_node: Callable[..., Services], clock: FakeClock) -> None:
    node = make_node(clock=clock)
    api = Api(node)
    request = add_request(node, add_task(node, "1", clock.now()), clock.now())
    digest = api.get(f"/api/approvals/{request}")["sha256"]
    api.refused(400, "POST", f"/api/approvals/{request}/approve", json={"sha256": digest, "approval": {}})
    assert node.store.recent() == []


def test_an_approval_on_the_cloud_reaches_local_by_git(
    make_node: Callable[..., Services], tmp_path: Path, clock: FakeClock
) -> None:
    """Two real vaults and a remote: a draft goes to the Cloud, its signed approval comes back and makes the record."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(remote))
    local = make_node("local", VAULT_REMOTE_URL=str(remote), clock=clock)
    request = add_request(local, add_task(local, "1", clock.now()), clock.now())
    assert local.sync.run().error is None
    cloud = make_node("cloud", VAULT_REMOTE_URL=str(remote), clock=clock)
    cloud.sync.run()
    api = Api(cloud)
    digest = api.get(f"/api/approvals/{request}")["sha256"]
    key = Ed25519PrivateKey.generate()
    made = cloud.remote_approvals.prepare(request, digest, encode(key.public_key().public_bytes_raw()))
    signed = made.signed(key.sign(made.to_sign()))
    ApproverKeys(local.settings.keys_dir).enrol("ada-phone", signed.signer, clock.now())
    answer = api.post(f"/api/approvals/{request}/approve", sha256=digest, approval=json.loads(signed.file()))
    assert cloud.sync.run().error is None
    local.sync.run()
    local.approvals.observe()
    (record,) = local.store.recent()
    assert (record.approved_by, record.sha256) == ("ada-phone", digest)
    assert local.layout.stage_of(local.layout.find(request)[0]) is Stage.APPROVED
    local.sync.run()
    cloud.sync.run()
    assert not (cloud.layout.root / answer["path"]).exists()
