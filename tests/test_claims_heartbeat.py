"""Who works on a claim: the living are left alone, the work of the dead is taken up, by one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.claim_kit import FORK, claimed_by_the_dead, living
from tests.conftest import FakeClock
from utils.claim_task import Claims, Lost, claim_task
from utils.core.stages import Stage
from utils.core.task import make_id
from utils.vault.layout import Layout


@pytest.fixture
def claims(tmp_path: Path, clock: FakeClock) -> Claims:
    return Claims(Layout(tmp_path / "vault"), tmp_path / "state", clock, "local")


def waiting(claims: Claims, key: str = "a") -> Path:
    meta = {"id": make_id("email", datetime(2026, 6, 1, tzinfo=UTC), key), "domain": "email"}
    return claims.create(Stage.NEEDS_ACTION, meta, "body")


def heartbeat(tmp_path: Path, path: Path) -> Path:
    return tmp_path / "state" / "claims" / f"{path.stem}.json"


def test_a_process_that_claims_from_outside_has_one_sign_however_often(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    environ = {"ENV_FILE": "", "AGENT_NAME": "local", "VAULT_PATH": str(tmp_path / "vault"), "STATE_DIR": str(state)}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    paths = [waiting(claims, key) for key in "abc"]
    claimed = [claim_task(path, "local") for path in [*paths, paths[0]]]
    assert claimed == [tmp_path / "vault/In_Progress/local" / path.name for path in paths] + [None]
    assert len(list((state / "claims").glob("process-*.json"))) == 1
    assert claims.abandoned() == []


def test_a_claim_has_a_heartbeat_from_its_beginning_until_it_is_laid_down(
    claims: Claims, clock: FakeClock, tmp_path: Path
) -> None:
    path = waiting(claims)
    claimed = claims.claim(path)
    assert claimed is not None
    file = heartbeat(tmp_path, path)
    assert json.loads(file.read_bytes())["pid"] == os.getpid()
    assert file.stat().st_mode & 0o777 == 0o600
    assert claims.signs(path.stem) == (True, clock.now())
    clock.advance(60)
    claims.beat(claimed)
    assert claims.signs(path.stem) == (True, clock.now())
    claims.rest(claimed)
    assert claims.signs(path.stem) == (False, None)
    assert claims.abandoned() == [claimed]
    assert claims.take_up(claimed) and claims.abandoned() == []
    claims.move(claimed, Stage.DONE)
    assert not file.exists()


def test_a_living_process_keeps_its_work_even_when_it_is_frozen(claims: Claims) -> None:
    path = waiting(claims)
    with living(lambda: claims.claim(path)) as child:
        [claimed] = claims._layout.files(Stage.IN_PROGRESS)
        os.kill(child.pid, signal.SIGSTOP)
        assert claims.abandoned() == []
        assert not claims.take_up(claimed)
        with pytest.raises(Lost):
            claims.beat(claimed)
        claims.rest(claimed)  # not ours to lay down
        assert claims.signs(path.stem)[0]
    assert claims.abandoned() == [claimed]
    assert claims.take_up(claimed)


@pytest.mark.parametrize("change", [{"started": "1"}, {"boot": "another"}, {"pid": 2**22 + 1}])
def test_a_reused_pid_and_another_boot_are_not_the_worker(claims: Claims, tmp_path: Path, change: dict) -> None:  # type: ignore[type-arg]
    claimed = claims.claim(waiting(claims))
    assert claimed is not None and claims.abandoned() == []
    file = heartbeat(tmp_path, claimed)
    file.write_text(json.dumps(json.loads(file.read_bytes()) | change))
    assert claims.abandoned() == [claimed]


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"pid": null}'])
def test_a_damaged_heartbeat_is_nobodys(claims: Claims, tmp_path: Path, data: bytes) -> None:
    claimed = claims.claim(waiting(claims))
    assert claimed is not None
    heartbeat(tmp_path, claimed).write_bytes(data)
    assert claims.abandoned() == [claimed]
    assert claims.take_up(claimed)


def test_of_many_who_find_the_work_of_the_dead_one_takes_it_up(claims: Claims) -> None:
    left = claimed_by_the_dead(claims, waiting(claims))
    took = FORK.Queue()
    barrier = FORK.Barrier(8)

    def work() -> None:
        barrier.wait()
        took.put(claims.take_up(left))
        barrier.wait()  # all live until all have tried

    workers = [FORK.Process(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    answers = [took.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert sorted(answers) == [False] * 7 + [True]


def test_work_that_went_elsewhere_is_lost_at_the_next_step(claims: Claims, tmp_path: Path) -> None:
    claimed = claims.claim(waiting(claims))
    assert claimed is not None
    claimed.rename(claimed.with_name("elsewhere.md"))
    with pytest.raises(Lost):
        claims.beat(claimed)
    meta = {"id": make_id("email", datetime(2026, 6, 1, tzinfo=UTC), "request"), "domain": "email"}
    with pytest.raises(Lost):
        claims.create(Stage.PENDING_APPROVAL, meta, "a draft", claimed=claimed)
    assert list(claims._layout.files(Stage.PENDING_APPROVAL)) == []


def test_what_is_worked_on_and_was_put_back_by_hand_is_not_claimed_before_it_is_laid_down(claims: Claims) -> None:
    """Else two threads of one process would do it."""
    path = waiting(claims)
    claimed = claims.claim(path)
    assert claimed is not None
    claimed.rename(path)
    assert claims.claim(path) is None and path.exists()
    claims.rest(claimed)
    assert claims.claim(path) == claimed


def test_a_start_sweeps_the_heartbeats_of_what_is_over(claims: Claims, tmp_path: Path, clock: FakeClock) -> None:
    signs = tmp_path / "state" / "claims"
    dead = claimed_by_the_dead(claims, waiting(claims, "a"))
    begun = signs / ".tmp-0123456789abcdef"  # a dead process was about to replace another's
    begun.touch()
    stays = claims.claim(waiting(claims, "b"))
    assert stays is not None
    clock.advance(timedelta(days=365).total_seconds())
    claims.repair()
    assert not heartbeat(tmp_path, dead).exists() and not begun.exists()
    assert len(list(signs.glob("process-*"))) == 1
    assert heartbeat(tmp_path, stays).exists()


def test_a_name_as_long_as_a_file_system_allows_can_be_claimed(claims: Claims) -> None:
    path = claims._layout.folder(Stage.NEEDS_ACTION, domain="general") / ("ä" * 126 + ".md")
    path.parent.mkdir(parents=True)
    path.write_text("by hand")
    claimed = claims.claim(path)
    assert claimed is not None and claims.signs(claimed.stem)[0]


def test_two_watchers_started_by_mistake_draft_once(make_node: Callable[..., object]) -> None:
    from tests.mail_kit import drop, files, make_mail, run

    node = make_node("local")
    drop(node, make_mail())  # type: ignore[arg-type]
    for raw in node.mailbox.fetch():  # type: ignore[attr-defined]
        from collections import Counter

        node.intake._take(raw, {}, node.clock.now(), Counter())  # type: ignore[attr-defined]
    [path] = node.layout.files(Stage.NEEDS_ACTION)  # type: ignore[attr-defined]
    with living(lambda: node.claims.claim(path)):  # type: ignore[attr-defined]
        assert run(node) == "no mail"  # type: ignore[arg-type]
    assert run(node) == "drafted 1"  # type: ignore[arg-type]
    assert len(files(node, Stage.PENDING_APPROVAL)) == 1  # type: ignore[arg-type]
