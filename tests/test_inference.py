"""What a dropped note is taken for: by what the person wrote, by the folder, by words; and careful where in doubt."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import FakeClock
from utils.bootstrap import Services
from utils.core.inference import infer
from utils.core.routing import DOMAIN_OF_TYPE, LOCAL_ONLY_TYPES, TASK_TYPES
from utils.core.stages import DOMAINS, Stage
from utils.core.task import task_from
from utils.vault import frontmatter


def seen(text: str, *, name: str = "note.md", folder: str | None = None, **found: Any) -> tuple[str, str]:
    result = infer(found, folder=folder, name=name, text=text)
    return result.type, result.domain


@pytest.mark.parametrize(
    ("text", "task_type"),
    [
        ("Book the invoice of ACME", "accounting"),
        ("Die Stromrechnung ablegen", "accounting"),
        ("La facture de mars", "accounting"),
        ("Archiva la fattura", "accounting"),
        ("Please pay the invoice of ACME", "payments"),
        ("Bitte die Rechnung überweisen", "payments"),
        ("Rechnung bis Freitag bezahlen", "payments"),
        ("DE89 3704 0044 0532 0130 00", "payments"),
        ("IBAN follows", "payments"),
        ("virement au fournisseur", "payments"),
        ("pagar la factura", "payments"),
        ("fare un bonifico", "payments"),
        ("Send Bob 200 €", "payments"),
        ("pa\u00ady Bob", "payments"),  # a soft hyphen
        ("U\u0308berweisung", "payments"),  # ü in two characters, as a Mac writes names
        ("WhatsApp an Maria", "whatsapp"),
        ("Announce it on LinkedIn", "social_media"),
        ("Facebook and Instagram", "social_media"),
        ("Tweet the news", "social_media"),
        ("Write a post about the launch", "social_media"),
        ("Reply to Bob", "email_processing"),
        ("E-Mail an Bob beantworten", "email_processing"),
        ("répondre au courriel", "email_processing"),
        ("Check the server", "system_monitoring"),
        ("Did the backup run?", "system_monitoring"),
        ("health check of the API", "system_monitoring"),
        ("Approve the holiday", "approvals"),
        ("Urlaub genehmigen", "approvals"),
        ("Call the plumber", "vault_operations"),
        ("Die Post abholen, die Anzahl der Berechnungen", "vault_operations"),
        ("Reply on Facebook", "vault_operations"),  # in doubt
        ("", "vault_operations"),
    ],
)
def test_words_tell_the_type(text: str, task_type: str) -> None:
    assert seen(text) == (task_type, DOMAIN_OF_TYPE[task_type])


def test_the_name_says_more_than_the_text() -> None:
    assert seen("please reply by mail", name="Invoice_ACME.md")[0] == "accounting"
    assert seen("reply by WhatsApp", name="Invoice ACME.md")[0] == "vault_operations"  # not to the cloud by a title


def test_the_folder_is_stronger_than_words_and_the_persons_own_word_than_the_folder() -> None:
    assert seen("the invoice", folder="email") == ("email_processing", "email")
    assert seen("call Bob", folder="social") == ("social_media", "social")
    assert seen("reply to Bob", folder="accounting") == ("accounting", "accounting")
    assert seen("the invoice", folder="general") == ("accounting", "accounting")
    assert seen("the invoice", folder="email", type="social_media") == ("social_media", "social")
    assert seen("call Bob", folder="email", domain="accounting") == ("accounting", "accounting")
    assert seen("call Bob", type="note", domain="general") == ("vault_operations", "general")


@pytest.mark.parametrize("said", ["legal_review", "Payments!", 5, ["social_media"], {"a": 1}])
def test_a_written_type_that_nobody_knows_is_local_only_whatever_the_words_say(said: Any) -> None:
    result = infer({"type": said}, folder="social", name="reply.md", text="Post about it on LinkedIn")
    assert (result.type, result.domain) == ("vault_operations", "social")
    assert result.why == f"type '{said}' is unknown: local only"
    assert seen("Post about it on LinkedIn", type="") == ("social_media", "social"), "nothing was written"


def test_a_note_too_long_to_be_read_is_local_only_unless_a_person_says_what_it_is() -> None:
    text = "reply to Bob\n" + "lorem ipsum\n" * 100_000
    assert seen(text, folder="email") == ("vault_operations", "email")
    assert seen(text) == ("vault_operations", "general")
    assert seen("pay Bob\n" + text)[0] == "payments"
    assert seen(text, type="email_processing")[0] == "email_processing"


def test_nothing_about_paying_is_downgraded_by_a_folder() -> None:
    for folder in (*DOMAINS, None):
        assert seen("pay ACME", folder=folder)[0] == "payments"
    assert seen("answer on WhatsApp", folder="social") == ("whatsapp", "social")


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("urgent: call", "urgent"),
        ("ASAP", "urgent"),
        ("Dringend!", "urgent"),
        ("c'est urgent", "urgent"),
        ("not urgent", "normal"),
        ("nicht dringend", "normal"),
        ("call", "normal"),
    ],
)
def test_haste_is_a_priority(text: str, priority: str) -> None:
    assert infer({}, folder=None, name="a.md", text=text).priority == priority
    assert infer({"priority": "low"}, folder=None, name="a.md", text=text).priority == "low"


def test_the_reason_is_named() -> None:
    why = infer({}, folder=None, name="a.md", text="The invoice, ASAP").why
    assert why == "type from the word 'invoice'; priority from the word 'asap'"
    assert infer({}, folder="email", name="a.md", text="hello").why == "type from the folder 'email'"
    assert infer({}, folder=None, name="a.md", text="hello").why == "type from no known word: local only"
    assert (
        "in doubt between the words 'facebook' and 'reply'"
        in infer({}, folder=None, name="", text="Reply on Facebook").why
    )
    assert infer({"type": "accounting"}, folder=None, name="a.md", text="pay").why == ""


@given(st.text(), st.text(), st.sampled_from([None, "general"]))
def test_what_no_word_explains_never_leaves_local(name: str, text: str, folder: str | None) -> None:
    result = infer({}, folder=folder, name=name, text=text)
    assert result.type in TASK_TYPES
    assert "word '" in result.why or result.type in LOCAL_ONLY_TYPES


_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: not name.startswith(".") and not name.endswith(".reason")
)
_HEADERS = st.sampled_from(
    [
        "---\ntype: [x]\npriority: 3\n---\n",
        "---\ndomain: social\ncreated_by: 5\nsource: me\n---\n",
        "---\nid: email-20260101T120000Z-1a2b3c4d\ntype: accounting\n---\n",
        "---\ncreated: 9999-12-31T23:59:59-14:00\ninferred: no\n---\n",
        "\ufeff---\r\ntags: [a]\r\n---\r\n",
        "---\n---\n",
        "---\n: [\n---\n",
        f"---\nlong: {'x' * 65_500}\n---\n",
        "---\n",
        "",
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=_NAMES,
    header=_HEADERS,
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    place=st.sampled_from(["Inbox", "Needs_Action", "Needs_Action/email", "Needs_Action/general/of mine"]),
    age=st.sampled_from([60, 10**12, -(10**12), -60]),
)
def test_any_note_becomes_a_valid_task_with_every_byte_of_its_text(
    make_node: Callable[..., Services], name: str, header: str, text: str, place: str, age: int
) -> None:
    clock = FakeClock()
    node = make_node("local", clock=clock, ready=False)
    for stage in Stage:
        for old in list(node.layout.files(stage)):
            old.unlink()
    path = node.layout.root / place / f"{name}.md"
    data = (header + text).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (max(clock.now().timestamp() - age, -(2**31)),) * 2)
    node.drops.run(clock.now())
    if not data:
        assert path.read_bytes() == b""
        return
    if path.exists():  # what begins like a task and can't be read is set aside by the dispatcher
        assert place != "Inbox"
        clock.advance(10**9)
        node.dispatcher.run(clock.now())
        [path] = node.layout.files(Stage.QUARANTINE)
        assert path.read_bytes() == data
        return
    [made] = node.layout.files(Stage.NEEDS_ACTION)
    task = task_from(*frontmatter.read(made.read_bytes()))
    assert task.id == made.stem
    assert made.parent == node.layout.folder(Stage.NEEDS_ACTION, domain=task.domain)
    try:
        _, body = frontmatter.parse(header + text)
    except frontmatter.InvalidFrontMatter:
        body = header + text
    assert task.body in (body, header + text)
    assert task.body.encode().endswith(text.encode())
