"""The decision alone: whoever merges comes to the same tree, and no version is lost without a trace."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from utils.core.merge import FILE, Entry, Plan, conflict_path, decide, note_for, unite
from utils.vault.layout import stage_at

NAMES = [
    "note.md",
    "NOTE.md",
    "note.md/inner.md",
    "Needs_Action/email/email-20260601T100000Z-0a1b2c3d.md",
    "In_Progress/local/email-20260601T100000Z-0a1b2c3d.md",
    "In_Progress/cloud/email-20260601T100000Z-0a1b2c3d.md",
    "Approved/email-20260601T100000Z-0a1b2c3d.md",
    "Done/email-20260601T100000Z-0a1b2c3d.md",
    "Plans/x.md",
]
Tree = dict[str, Entry]


def possible(tree: Tree) -> Tree:
    """Without a file where a folder is."""
    folders = {path.rpartition("/")[0] for path in tree}
    return {path: entry for path, entry in tree.items() if path not in folders}


def one_stage(tree: Tree) -> Tree:
    """Each node keeps a task in one place."""
    tasks = [path for path in tree if stage_at(path)]
    return {path: entry for path, entry in tree.items() if path not in tasks[1:]}


trees = (
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([Entry(FILE, f"{n:040x}") for n in range(4)]))
    .map(possible)
    .map(one_stage)
)


def changes(base: Tree, tree: Tree) -> dict[str, Entry | None]:
    return {path: tree.get(path) for path in {*base, *tree} if base.get(path) != tree.get(path)}


def merge(base: Tree, ours: Tree, theirs: Tree, zone: str, peer: str) -> tuple[Tree, Plan]:
    plan = decide(
        dict(base), changes(base, ours), changes(base, theirs), zone=zone, their_zone=lambda _: peer, stage_at=stage_at
    )
    final = {path: entry for path, entry in (ours | plan.changes).items() if entry is not None}
    return final | {aside.kept_at: aside.entry for aside in plan.asides}, plan


@settings(max_examples=600)
@given(trees, trees, trees)
def test_the_tree_is_the_same_whoever_merges_unless_two_claims_meet(base: Tree, local: Tree, cloud: Tree) -> None:
    on_local, plan_local = merge(base, local, cloud, "local", "cloud")
    on_cloud, plan_cloud = merge(base, cloud, local, "cloud", "local")
    claims = [lost for plan in (plan_local, plan_cloud) for lost in plan.lost_claims]
    if not claims:
        assert on_local == on_cloud


@settings(max_examples=600)
@given(trees, trees, trees)
def test_no_version_is_lost_no_task_doubled_and_every_tree_possible(base: Tree, local: Tree, cloud: Tree) -> None:
    for ours, theirs, zone, peer in ((local, cloud, "local", "cloud"), (cloud, local, "cloud", "local")):
        final, _ = merge(base, ours, theirs, zone, peer)
        there = set(final.values())
        for side in (ours, theirs):
            for path, entry in changes(base, side).items():
                # A removal of the other side may be what stands; what was *written* here must be somewhere.
                if entry is not None and entry not in set(base.values()):
                    assert entry in there, (path, zone)
        tasks = [path for path in final if stage_at(path)]
        assert len(tasks) <= 1
        assert possible(final) == final


@settings(max_examples=300)
@given(trees, trees, trees)
def test_local_s_bytes_stand_where_both_wrote(base: Tree, local: Tree, cloud: Tree) -> None:
    final, plan = merge(base, cloud, local, "cloud", "local")
    settled = {aside.path for aside in plan.asides if "clash" in aside.why} | {c.lost for c in plan.lost_claims}
    for path, entry in changes(base, local).items():
        if entry is not None and path in changes(base, cloud) and path not in settled and not stage_at(path):
            assert final[path] == entry


@given(trees, trees)
def test_a_side_that_did_nothing_yields(base: Tree, other: Tree) -> None:
    for zone, peer in (("local", "cloud"), ("cloud", "local")):
        assert merge(base, base, other, zone, peer)[0] == other
        assert merge(base, other, base, zone, peer)[0] == other


lines = st.lists(st.integers(0, 30), max_size=12, unique=True)


def log(numbers: list[int]) -> bytes:
    return b"".join(b'{"at":"2026-06-01T10:%02d:00Z","n":%d}\n' % (n, n) for n in numbers)


def numbers(data: bytes) -> list[int]:
    return [json.loads(line)["n"] for line in data.splitlines()]


def is_subsequence(part: list[int], whole: list[int]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


@given(lines, lines, lines)
def test_logs_unite_without_loss_doubling_or_reordering(base: list[int], first: list[int], second: list[int]) -> None:
    ours = base + [n for n in first if n not in base]
    theirs = base + [n for n in second if n not in base]
    united = numbers(unite(log(ours), log(theirs)))
    assert set(united) == set(ours) | set(theirs)
    assert is_subsequence(ours, united) and is_subsequence(theirs, united)
    assert unite(log(ours), log(ours)) == log(ours)


@given(lines, lines)
def test_lines_of_two_writers_are_in_the_order_of_time(first: list[int], second: list[int]) -> None:
    ours, theirs = sorted(first), sorted(n for n in second if n not in first)
    assert numbers(unite(log(ours), log(theirs))) == sorted({*ours, *theirs})


few = st.lists(st.integers(0, 3), max_size=12)


@given(few, few, few)
def test_equal_lines_of_one_writer_stay_as_many_as_they_were(
    base: list[int], first: list[int], second: list[int]
) -> None:
    """Ticks without a time. Where both sides only appended, uniting again with either side changes nothing."""
    ours, theirs = base + first, base + second
    united = unite(log(ours), log(theirs))
    lines_of = numbers(united)
    assert is_subsequence(ours, lines_of) and is_subsequence(theirs, lines_of)
    assert all(lines_of.count(n) >= max(ours.count(n), theirs.count(n)) for n in range(4))
    assert all(lines_of.count(n) <= ours.count(n) + theirs.count(n) - base.count(n) for n in range(4))
    assert unite(united, united) == united


def test_of_lines_in_another_order_as_many_as_can_be_are_written_once() -> None:
    united = numbers(unite(log([5, 1, 2, 3, 4]), log([1, 2, 3, 4, 5])))
    assert united == [5, 1, 2, 3, 4, 5]
    assert len(numbers(unite(log([3, 4, 1, 2, 9]), log([1, 2, 3, 4, 9])))) == 7


def test_equal_lines_are_told_apart_by_their_neighbours() -> None:
    united = unite(b"t\nx\nt\ny\nt\n", b"y\nt\nz\n")
    assert united == unite(united, b"y\nt\nz\n") == b"t\nx\nt\ny\nt\nz\n"
    base = b"a\nt\nb\nt\nc\nt\n"
    assert unite(b"t\nc\nt\nlocal\n", base + b"other\n", base=base) == base + b"local\nother\n"


def test_twenty_thousand_equal_lines_are_united() -> None:
    ticks = b'{"event":"tick"}\n' * 20_000
    united = unite(b'{"a":1}\n' + ticks, b'{"b":1}\n' + ticks)
    assert united == b'{"a":1}\n{"b":1}\n' + ticks


def test_a_torn_last_line_does_not_eat_the_next() -> None:
    assert unite(b'{"n":1}\n{"n":', b'{"n":1}\n{"n":2}\n') == b'{"n":1}\n{"n":\n{"n":2}\n'


def test_names_of_kept_versions() -> None:
    oid = "0123456789abcdef"
    assert conflict_path("a/b.md", "cloud", oid) == "Updates/conflicts/a/b.md.cloud.01234567.md"
    assert conflict_path("p.png", "local", oid) == "Updates/conflicts/p.png.local.01234567.png"
    assert conflict_path("LICENSE", "cloud", oid) == "Updates/conflicts/LICENSE.cloud.01234567.md"
    assert conflict_path("Updates/conflicts/a.md", "cloud", oid) == "Updates/conflicts/a.md.cloud.01234567.md"
    long = conflict_path("é" * 120 + ".md", "cloud", oid)
    assert len(long.rpartition("/")[2].encode()) <= 255


def test_the_note_on_a_kept_version_can_be_read(tmp_path: object) -> None:
    from utils.core.merge import Aside
    from utils.vault import frontmatter

    aside = Aside('we "said".md', Entry(FILE, "0" * 40), "cloud", "local", "Updates/conflicts/x.md", "both changed it")
    meta, body = frontmatter.read(note_for(aside, b"---\nid: x\n---\ntext\n"))
    assert meta["conflict"] == 'we "said".md' and (meta["lost"], meta["stands"]) == ("cloud", "local")
    assert body == "---\nid: x\n---\ntext\n"
