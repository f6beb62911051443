"""What a vault brings for Obsidian: views (`.base`), templates, and where those lie.

A base is read as Obsidian's help has its syntax ("Bases syntax", "Functions"); what it names must be what our code
writes. A template is filled in as its help says ("Templates": Moment.js formats), and is then a request like any other.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import FakeClock
from tests.fakes.desk import Desk, World, sha
from tests.mail_kit import drop, make_mail
from tests.mail_kit import run as read_mail
from tests.social_kit import put_picture
from tests.test_requests_by_hand import ACCOUNTS, DOCUMENTED
from tests.vaults import Two, git
from utils.bootstrap import Services
from utils.core import decision
from utils.core.policy import ACTIONS
from utils.core.stages import DOMAINS, Stage
from utils.core.task import PRIORITIES, split_draft, with_draft
from utils.execution import requests
from utils.vault import frontmatter, skeleton
from utils.vault.layout import FOLDERS

Make = Callable[..., Services]
FOLDER = Path(skeleton.__file__).parent / "templates" / "obsidian"
BASES = sorted(FOLDER.glob("*.base"))
TEMPLATES = sorted(FOLDER.glob("Templates/*.md"))
#: Functions and fields of Obsidian's help that are used; none of them shows HTML or fetches an image.
FUNCTIONS = frozenset({"date", "if", "file.inFolder", "relative", "isEmpty", "endsWith", "split", "replace"})
FILE_PROPERTIES = frozenset({"ext", "path", "name", "mtime", "inFolder"})
VIEWS = {"table", "cards"}
_STRING = re.compile(r'"[^"]*"')
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_MOMENT = re.compile(r"\[([^\]]*)\]|YYYY|MM|DD|HH|mm|ss|Z|x")
BERLIN = timezone(timedelta(hours=2))


# Views


def load(path: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def conditions(filters: Any) -> Iterator[str]:
    """The statements of a filter: one, or a tree of `and`, `or`, `not`."""
    if isinstance(filters, str):
        yield filters
        return
    [(word, parts)] = filters.items()
    assert word in ("and", "or", "not")
    for part in parts:
        yield from conditions(part)


def expressions(base: Mapping[str, Any]) -> list[str]:
    """Everything in a base that is evaluated, or names a property."""
    found = [*conditions(base["filters"]), *base["formulas"].values(), *base["properties"]]
    for view in base["views"]:
        found += [*conditions(view["filters"]), *view["order"], *(sort["property"] for sort in view.get("sort", []))]
        found += [view["groupBy"]["property"]] if "groupBy" in view else []
    return found


def names(expression: str) -> set[str]:
    return set(_NAME.findall(_STRING.sub('""', expression)))


def known_properties(node: Services, clock: FakeClock) -> set[str]:
    """The properties, `source.subject` too, of all that a node wrote: of a mail, of its request, and of a note."""
    drop(node, make_mail())
    read_mail(node)
    note = node.layout.root / "Inbox" / "milk.md"
    note.write_text("Buy milk\n")
    os.utime(note, (clock.now().timestamp() - 600,) * 2)
    node.drops.run(clock.now())
    found: set[str] = set()
    files = [path for stage in Stage for path in node.layout.files(stage)]
    assert len(files) == 3
    for path in files:
        meta, _ = frontmatter.read(path.read_bytes())
        inner = meta["source"]
        found |= {*meta, *(f"source.{name}" for name in inner)}
    return found


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.name)
def test_a_view_names_what_the_code_writes_and_nothing_else(path: Path, make_node: Make, clock: FakeClock) -> None:
    base = load(path)
    assert set(base) == {"filters", "formulas", "properties", "views"}
    written = known_properties(make_node(clock=clock), clock) | set(decision.KEYS)
    formulas = {f"formula.{name}" for name in base["formulas"]}
    shown = {name for view in base["views"] for name in view["order"]}
    unknown = set()
    for expression in expressions(base):
        for name in names(expression):
            first, *rest = name.split(".")
            if name in formulas or name in FUNCTIONS:
                continue
            if first == "file":
                assert rest[0] in FILE_PROPERTIES, name
                rest_is_known = set(rest[1:]) <= FUNCTIONS
            else:
                plain = [part for part in name.removeprefix("note.").split(".") if part not in FUNCTIONS]
                rest_is_known = ".".join(plain) in written
            if not rest_is_known:
                unknown.add(name)
    assert unknown == set()
    assert shown <= set(base["properties"])  # each column has a name for people


@pytest.mark.parametrize("path", BASES, ids=lambda path: path.name)
def test_a_view_uses_what_obsidian_has(path: Path) -> None:
    base = load(path)
    assert {view["type"] for view in base["views"]} == VIEWS
    called = [one for text in expressions(base) for one in re.findall(r"[\w.]+(?=\()", _STRING.sub('""', text))]
    assert {one if one in FUNCTIONS else one.rpartition(".")[2] for one in called} <= FUNCTIONS
    for view in base["views"]:
        assert set(view) <= {"type", "name", "filters", "groupBy", "order", "sort", "limit"}
        directions = [*view.get("sort", []), *([view["groupBy"]] if "groupBy" in view else [])]
        assert {entry["direction"] for entry in directions} <= {"ASC", "DESC"}
    folders = {name for text in expressions(base) for name in re.findall(r'inFolder\("([^"]*)"\)', text)}
    assert folders and folders <= set(FOLDERS.values())
    words = {word for text in expressions(base) for word in re.findall(r'priority == "([^"]*)"', text)}
    assert words <= set(PRIORITIES)


def test_the_views_are_of_all_stages() -> None:
    def folders(path: Path) -> set[str]:
        return {name for text in conditions(load(path)["filters"]) for name in re.findall(r'inFolder\("(.*?)"\)', text)}

    assert folders(FOLDER / "Approvals.base") | folders(FOLDER / "Tasks.base") == set(FOLDERS.values())


# Templates


def moment(layout: str, now: datetime) -> str:
    """`now` as Moment.js formats it, with the tokens that we use."""
    offset = now.strftime("%z")
    values = {
        **{token: now.strftime(how) for token, how in (("YYYY", "%Y"), ("MM", "%m"), ("DD", "%d"), ("HH", "%H"))},
        "mm": now.strftime("%M"),
        "ss": now.strftime("%S"),
        "Z": f"{offset[:3]}:{offset[3:]}",
        "x": str(int(now.timestamp() * 1000)),
    }
    assert re.fullmatch(r"[-:]*", _MOMENT.sub("", layout)), "a letter that Moment.js would take for a token"
    return _MOMENT.sub(lambda match: match[1] if match[1] is not None else values[match[0]], layout)


def inserted(path: Path, now: datetime) -> str:
    """A template as Obsidian puts it into a note."""
    return re.sub(r"\{\{date:(.*?)\}\}", lambda match: moment(match[1], now), path.read_text(encoding="utf-8"))


def blanks(meta: Mapping[str, Any]) -> set[str]:
    """The properties that a person is to fill in."""

    def is_blank(value: Any) -> bool:
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
        return value in (None, [], "") or (inner is not None and any(is_blank(one) for one in inner))

    return {name for name, value in meta.items() if is_blank(value)}


REQUESTS = {str(frontmatter.read(path.read_bytes())[0]["action"]): path for path in TEMPLATES if path.stem != "Task"}


@pytest.fixture
def desk(make_node: Make, clock: FakeClock) -> Desk:
    desk = Desk(make_node, clock, World(), set_up=True, **ACCOUNTS)
    put_picture(desk)
    (desk.vault / "Accounting").mkdir(exist_ok=True)
    (desk.vault / "Accounting" / "offer.pdf").write_bytes(b"test")
    return desk


def test_there_is_a_template_for_each_action_and_for_a_task() -> None:
    assert sorted(REQUESTS) == sorted(ACTIONS)
    assert [path.stem for path in TEMPLATES if path not in REQUESTS.values()] == ["Task"]


@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_template_filled_in_can_be_approved(desk: Desk, action: str) -> None:
    text = inserted(REQUESTS[action], desk.clock.now().astimezone(BERLIN))
    assert "{{" not in text
    meta, body = frontmatter.read(text.encode())
    example, example_body = frontmatter.read(DOCUMENTED[action].encode())
    assert set(meta) >= set(example) - {"image", "link", "attachments", "references", "template"}
    for name in blanks(meta) & set(example):
        meta[name] = example[name]
    meta = {
        name: value for name, value in meta.items() if name not in blanks(meta)
    }  # as one leaves what may stay empty
    body = with_draft(split_draft(body)[0], split_draft(example_body)[1].removesuffix("\n"))
    path = desk.vault / "Pending_Approval" / meta["domain"] / f"{meta['id']}.md"
    path.write_bytes(frontmatter.write(meta, body))
    desk.approvals.observe()
    waiting = desk.approvals.get(meta["id"])
    assert waiting.problems == () and not waiting.expired
    record = desk.approvals.approve(meta["id"], sha(path), by="Ada")
    order = requests.order(record)
    assert desk.node.hand(action).plan(order).shown
    assert desk.places(path.name) == ["Approved"]


@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_template_left_empty_is_no_request_yet(desk: Desk, action: str) -> None:
    text = inserted(REQUESTS[action], desk.clock.now().astimezone(BERLIN))
    meta, _ = frontmatter.read(text.encode())
    request, problems = requests.parse(text.encode(), meta["id"])
    assert problems
    if request is None:
        left = {name for name in ACTIONS[action].required if name in blanks(meta)}
        assert {name for problem in problems for name in re.findall(r"needs '(\w+)'", problem)} <= left


def test_the_task_of_the_template_is_filed_as_it_was_written(make_node: Make, clock: FakeClock) -> None:
    node = make_node(clock=clock)
    path = node.layout.root / "Inbox" / "milk.md"
    [template] = [path for path in TEMPLATES if path.stem == "Task"]
    path.write_text(template.read_text().replace("priority: normal", "priority: high") + "\nBuy milk.\n")
    os.utime(path, (clock.now().timestamp() - 600,) * 2)
    node.drops.run(clock.now())
    [task] = node.layout.files(Stage.NEEDS_ACTION)
    meta, body = frontmatter.read(task.read_bytes())
    assert (meta["priority"], meta["domain"]) == ("high", "general")
    assert body.endswith("Buy milk.\n") and meta["domain"] in DOMAINS
    assert node.board.summary(next(iter(node.board.cards(Stage.NEEDS_ACTION))))["problems"] == []


# In the vault


def test_a_new_vault_has_all_of_it_and_obsidian_knows_where(make_node: Make) -> None:
    root = make_node().settings.vault_path
    for name in skeleton.OBSIDIAN:
        assert (root / name).is_file()
    shipped = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert set(skeleton.OBSIDIAN.values()) == shipped
    folder = json.loads((root / ".obsidian" / "templates.json").read_text())["folder"]
    assert {path.name for path in (root / folder).iterdir()} == {path.name for path in TEMPLATES}
    assert {path.name for path in (root / ".obsidian").iterdir()} == {"templates.json"}
    assert "css" not in " ".join(skeleton.OBSIDIAN)


def test_a_vault_of_an_earlier_version_gets_what_it_lacks_and_a_persons_change_stays(make_node: Make) -> None:
    services = make_node()
    root = services.settings.vault_path
    for name in skeleton.OBSIDIAN:
        (root / name).unlink()
    (root / "Tasks.base").write_text("views: []\n")
    said = services.sync.prepare()
    assert said.partition("; added ")[2].split(", ") == [name for name in skeleton.OBSIDIAN if name != "Tasks.base"]
    assert (root / "Tasks.base").read_text() == "views: []\n"
    (root / "Approvals.base").write_text("mine\n")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if ".git" not in path.parts}
    assert services.sync.prepare().endswith("is a vault already")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if ".git" not in path.parts} == before
    assert (root / "Approvals.base").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["Templates", ".obsidian"])
def test_where_something_else_lies_nothing_is_written(make_node: Make, name: str) -> None:
    services = make_node(ready=False)
    root = services.settings.vault_path
    root.mkdir(parents=True)
    (root / name).write_text("mine\n")
    services.sync.prepare()
    assert (root / name).read_text() == "mine\n"
    assert (root / "Approvals.base").is_file()


def test_they_travel_to_the_cloud_and_what_it_changes_of_them_does_not_come_back(tmp_path: Path) -> None:
    two = Two(tmp_path, ready=False)
    two.prepare()
    two.settle()
    listed = git(two.remote, "ls-tree", "-r", "--name-only", "-z", "main").split("\0")
    assert set(skeleton.OBSIDIAN) <= set(listed)
    ours = {name: (two.a.root / name).read_bytes() for name in skeleton.OBSIDIAN}
    for name in ours:
        two.b.write(name, "forged\n")
    two.b.sync()
    for name in ours:
        two.b.write(f"{name.rpartition('/')[0] or '.'}/new.md", "forged\n")
    two.settle()
    assert {name: (two.a.root / name).read_bytes() for name in ours} == ours
    assert not list(two.a.root.glob("Templates/new.md"))


def test_a_vault_of_the_cloud_gets_nothing_of_its_own(tmp_path: Path) -> None:
    two = Two(tmp_path)
    for name in skeleton.OBSIDIAN:
        (two.b.root / name).unlink(missing_ok=True)
    assert two.b.vault_sync().prepare(str(two.remote)).endswith("is a vault already")
    assert list(two.b.root.glob("*.base")) == []
