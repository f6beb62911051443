"""A conflict is settled by a person who saw both versions, through the same writers as everything else."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from tests.api_client import Api, add_request, add_task
from utils.core.stages import Stage
from utils.vault import worktree

CONFLICTS = "/api/vault/conflicts"
NOTE = "Plans/email/trip.md"


@pytest.fixture
def node(make_node, clock):
    return make_node(clock=clock)


@pytest.fixture
def api(node):
    return Api(node)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(node, path: str, data: bytes) -> None:
    place = node.layout.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def copy_of(node, original: str, data: bytes, *, header: str | None = None) -> str:
    """A copy as a sync leaves it; answers its id. `header`: the path that its note names, where that is another."""
    note = f'---\nconflict: "{header or original}"\nlost: "cloud"\nstands: "local"\nwhy: "both sides changed it"\n---\n'
    put(node, f"Updates/conflicts/{original}.cloud.0a1b2c3d.md", note.encode() + data)
    return listed(Api(node))[0]["id"]


def listed(api: Api) -> list:
    return api.get(CONFLICTS)["items"]


def test_two_nodes_disagree_and_the_person_takes_the_other_version(make_node, clock, tmp_path):
    """The whole story, over a real remote: both versions are shown, one is taken, and no sync brings the other back."""
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(remote)], check=True)
    local = Api(make_node(clock=clock, VAULT_REMOTE_URL=str(remote)))
    cloud = Api(make_node("cloud", clock=clock, VAULT_REMOTE_URL=str(remote)))
    ours, theirs = b"---\ntitle: trip\n---\nby train\n", b"---\ntitle: trip\n---\nby \xe2\x80\x8bplane\n"
    put(local.node, NOTE, ours)
    put(cloud.node, NOTE, theirs)
    for api in (local, cloud, local):
        api.post("/api/vault/sync/trigger")
    (item,) = listed(local)
    shown = local.get(f"{CONFLICTS}/{item['id']}")
    assert shown["original"] == NOTE and shown["lost"] == "cloud"
    assert shown["ours"] == {"sha256": sha256(ours), "size": len(ours), "text": ours.decode()}
    assert shown["theirs"]["sha256"] == sha256(theirs), "the sync's own note on top is no part of it"
    assert "by ⟦U+200B⟧plane" in shown["theirs"]["text"], "inert, and nothing invisible"
    assert "-by train" in shown["difference"] and "+by ⟦U+200B⟧plane" in shown["difference"]
    assert cloud.get(f"{CONFLICTS}/{item['id']}")["theirs"]["sha256"] == sha256(theirs), "looked at from anywhere"
    for action in ("take-theirs", "dismiss"):
        problem = cloud.refused(403, "POST", f"{CONFLICTS}/{item['id']}/{action}")
        assert problem["type"].endswith("not-here")
    taken = local.post(f"{CONFLICTS}/{item['id']}/take-theirs", sha256=shown["ours"]["sha256"])
    assert taken == {"path": NOTE, "sha256": sha256(theirs), "kept_at": None}, "git has what stood there"
    assert (local.node.layout.root / NOTE).read_bytes() == theirs and listed(local) == []
    local.refused(404, "POST", f"{CONFLICTS}/{item['id']}/take-theirs", json={"sha256": sha256(theirs)})
    for api in (local, cloud, local, cloud):
        api.post("/api/vault/sync/trigger")
    for api in (local, cloud):
        assert (api.node.layout.root / NOTE).read_bytes() == theirs and listed(api) == []


def test_what_git_does_not_know_is_kept_aside_before_it_goes(node, api):
    put(node, NOTE, b"never synced\n")
    conflict = copy_of(node, NOTE, b"theirs\n")
    taken = api.post(f"{CONFLICTS}/{conflict}/take-theirs", sha256=sha256(b"never synced\n"))
    (item,) = listed(api)
    assert item["path"] == taken["kept_at"] and item["original"] == NOTE and "not in git" in item["why"]
    back = api.get(f"{CONFLICTS}/{item['id']}")
    assert (back["ours"]["text"], back["theirs"]["text"]) == ("theirs\n", "never synced\n")
    api.post(f"{CONFLICTS}/{item['id']}/take-theirs", sha256=sha256(b"theirs\n"))
    assert (node.layout.root / NOTE).read_bytes() == b"never synced\n", "and so it can be taken back"


def test_only_what_was_shown_is_replaced(node, api, monkeypatch):
    put(node, NOTE, b"shown\n")
    conflict = copy_of(node, NOTE, b"theirs\n")
    put(node, NOTE, b"edited since\n")
    take = f"{CONFLICTS}/{conflict}/take-theirs"
    problem = api.refused(409, "POST", take, json={"sha256": sha256(b"shown\n")})
    assert problem["type"].endswith("changed") and problem["sha256"] == sha256(b"edited since\n")
    assert api.refused(409, "POST", take)["sha256"] == sha256(b"edited since\n"), "something lies there"
    exchange = worktree.replace

    def late(root, path, **how):
        if path == NOTE:
            put(node, NOTE, b"in the last moment\n")
        return exchange(root, path, **how)

    monkeypatch.setattr(worktree, "replace", late)
    problem = api.refused(409, "POST", take, json={"sha256": sha256(b"edited since\n")})
    assert problem["sha256"] == sha256(b"in the last moment\n")
    assert (node.layout.root / NOTE).read_bytes() == b"in the last moment\n"
    assert conflict in {item["id"] for item in listed(api)}
    (node.layout.root / NOTE).unlink()
    monkeypatch.setattr(worktree, "replace", exchange)
    assert api.refused(409, "POST", take, json={"sha256": sha256(b"shown\n")})["sha256"] is None
    assert api.get(f"{CONFLICTS}/{conflict}")["ours"] is None
    api.post(take)
    assert (node.layout.root / NOTE).read_bytes() == b"theirs\n", "nothing stood there"


def test_a_request_is_edited_under_the_claim_lock_and_needs_a_new_approval(node, api, clock):
    request = add_request(node, add_task(node, "1", clock.now()), clock.now())
    node.approvals.observe()
    path = node.layout.find(request)[0]
    before = api.get(f"/api/approvals/{request}")["sha256"]
    theirs = path.read_bytes().replace(b"10", b"12")
    conflict = copy_of(node, node.layout.relative(path), theirs)
    api.post(f"{CONFLICTS}/{conflict}/take-theirs", sha256=before)
    shown = api.get(f"/api/approvals/{request}")
    assert shown["sha256"] == sha256(theirs) and shown["draft"] == "It costs 12 €."
    assert shown["change"]["draft"]["before"] == "It costs 10 €."
    api.refused(409, "POST", f"/api/approvals/{request}/approve", json={"sha256": before})
    events = [line["event"] for line in node.board.claim_events() if line["task"] == request]
    assert events[0] == "edited", "as every edit is told"


@pytest.mark.parametrize("stage", [Stage.APPROVED, Stage.REJECTED, Stage.DONE, Stage.IN_PROGRESS])
def test_what_is_decided_or_worked_on_stays(node, api, clock, stage):
    request = add_request(node, add_task(node, "1", clock.now()), clock.now())
    folder = node.layout.folder(stage, agent="local")
    path = node.layout.find(request)[0].rename(folder / f"{request}.md")
    data = path.read_bytes()
    conflict = copy_of(node, node.layout.relative(path), data.replace(b"10", b"12"))
    problem = api.refused(409, "POST", f"{CONFLICTS}/{conflict}/take-theirs", json={"sha256": sha256(data)})
    assert problem["type"].endswith("not-taken") and path.read_bytes() == data and len(listed(api)) == 1


def test_a_task_that_moved_on_is_not_made_a_second_time(node, api, clock):
    task = add_task(node, "1", clock.now())
    path = node.layout.find(task)[0]
    conflict = copy_of(node, node.layout.relative(path), path.read_bytes() + b"more\n")
    node.claims.claim(path)
    problem = api.refused(409, "POST", f"{CONFLICTS}/{conflict}/take-theirs")
    assert "second one" in problem["detail"] and len(node.layout.find(task)) == 1


@pytest.mark.parametrize(
    "named",
    [
        "../outside.md",
        "/outside.md",
        "Plans/../../outside.md",
        ".git/config",
        ".gitattributes",
        ".vault",
        "sub/.gitignore",
        "Logs/claims.jsonl",
        "run.sh",
        "Updates/conflicts/x.md",
        "link/x.md",
        "linked.md",
        "Plans",
    ],
)
def test_a_forged_copy_writes_nowhere(node, api, tmp_path, named):
    """Whoever owns the Cloud can send any file into Updates/conflicts/, with any name in its note."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.md").write_text("a secret of this machine")
    (node.layout.root / "link").symlink_to(outside)
    (node.layout.root / "linked.md").symlink_to(outside / "x.md")
    conflict = copy_of(node, "note.md", b"forged\n", header=named)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shown = api.ask("GET", f"{CONFLICTS}/{conflict}").get_data(as_text=True)
    assert "a secret of this machine" not in shown
    ours = api.get(f"{CONFLICTS}/{conflict}")["ours"]
    body = {"sha256": ours["sha256"]} if ours else {}
    problem = api.refused(409, "POST", f"{CONFLICTS}/{conflict}/take-theirs", json=body)
    assert problem["type"].endswith("not-taken")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", ["its version", "its note"])
def test_only_the_copy_that_was_shown_is_taken_or_removed(node, api, change):
    """A copy comes by a sync, so the other zone may change it after it was shown: what it holds, or where that goes."""
    conflict = copy_of(node, NOTE, b"theirs\n")
    shown = api.get(f"{CONFLICTS}/{conflict}")
    body = {"copy_sha256": shown["copy_sha256"]}
    copy = node.layout.root / listed(api)[0]["path"]
    seen = copy.read_bytes()
    copy.write_bytes(
        seen.replace(b"theirs\n", b"never shown\n") if change == "its version" else seen.replace(b"trip", b"trap")
    )
    for action in ("take-theirs", "dismiss"):
        problem = api.refused(409, "POST", f"{CONFLICTS}/{conflict}/{action}", json=body)
        assert problem["type"].endswith("not-taken")
    assert copy.exists() and not (node.layout.root / "Plans/email/trap.md").exists()
    copy.write_bytes(seen)
    api.post(f"{CONFLICTS}/{conflict}/take-theirs", **body)
    assert (node.layout.root / NOTE).read_bytes() == b"theirs\n"


def test_a_picture_and_a_very_long_text_have_no_difference(node, api):
    put(node, "map.png", b"\x89PNG\0A")
    put(node, "Updates/conflicts/map.png.cloud.0a1b2c3d.png", b"\x89PNG\0B")
    shown = api.get(f"{CONFLICTS}/{listed(api)[0]['id']}")
    assert shown["ours"]["text"] is None and shown["theirs"]["text"] is None and shown["difference"] is None
    assert shown["theirs"]["sha256"] == sha256(b"\x89PNG\0B")
    api.post(f"{CONFLICTS}/{shown['id']}/dismiss")
    assert listed(api) == [] and (node.layout.root / "map.png").read_bytes() == b"\x89PNG\0A"
    api.refused(404, "POST", f"{CONFLICTS}/{shown['id']}/dismiss")
    put(node, "long.md", b"a\n" * 3000)
    conflict = copy_of(node, "long.md", b"b\n" * 3000)
    assert api.get(f"{CONFLICTS}/{conflict}")["difference"] is None


def test_what_is_the_same_by_now_is_only_tidied_up(node, api):
    put(node, NOTE, b"the same\n")
    conflict = copy_of(node, NOTE, b"the same\n")
    taken = api.post(f"{CONFLICTS}/{conflict}/take-theirs", sha256=sha256(b"the same\n"))
    assert taken["kept_at"] is None and listed(api) == []
