"""Badges, lookalikes and links as pure rules: what is found, what is not, and that nothing foreign slips through."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from utils.core import links, lookalike, visible
from utils.core.badges import MANY, Badge, Deal, Facts, Kind, Letter, Severity, badges, dangers, targets
from utils.core.policy import ACTIONS
from utils.core.task import ApprovalRequest

ANN, EVE = "ann@acme.example", "eve@acrne.example"
GENUINE = Letter(ANN, genuine=True, message_id="<1@x>")
KNOWN = frozenset({ANN, "bob@other.example"})
PAYMENT = {"payee": "Acme GmbH", "amount": "40.00", "currency": "EUR", "reference": "R-1"}
IBAN, OTHER_IBAN = "DE89370400440532013000", "GB82WEST12345698765432"
LAST = Deal("register_payment", "Acme GmbH", Decimal("40.00"), "EUR", IBAN, "2026-05-01T10:00:00Z")


def request(action: str = "reply_email", draft: str = "Hello.", **fields: Any) -> ApprovalRequest:
    mail = {"to": [ANN], "subject": "Re: x", "in_reply_to": "<1@x>"} if action == "reply_email" else {}
    return ApprovalRequest(
        id="email-20260601T090000Z-1a2b3c4d", type="email_processing", domain="email", created="2026-06-01T09:00:00Z",
        created_by="cloud", priority="normal", source={}, meta={}, body="", action=action, fields=mail | fields,
        expires=datetime(2026, 6, 2, tzinfo=UTC), risk=(), why="", drafted_by="", source_task=None, draft=draft,
    )  # fmt: skip


def kinds(asked: ApprovalRequest, facts: Facts) -> dict[str, Severity]:
    return {badge.kind.value: badge.severity for badge in badges(asked, facts)}


# Whom it goes to


def test_a_known_recipient_of_a_genuine_mail_has_no_badge() -> None:
    assert badges(request(), Facts(KNOWN, GENUINE)) == ()


@pytest.mark.parametrize("name", ["to", "cc", "bcc"])
def test_a_recipient_without_a_receipt_is_new_wherever_it_stands(name: str) -> None:
    asked = request(**{"to": [ANN], name: ["New <new@third.example>"]})
    (badge,) = badges(asked, Facts(KNOWN, GENUINE))
    assert badge.kind is Kind.NEW_RECIPIENT and badge.severity is Severity.WARNING
    assert "new@third.example" in badge.words


def test_who_wrote_the_mail_is_new_and_no_stranger() -> None:
    assert kinds(request(), Facts(frozenset(), GENUINE)) == {"new_recipient": Severity.INFO}
    assert kinds(request(), Facts(frozenset(), replace(GENUINE, genuine=None)))["new_recipient"] is Severity.WARNING


def test_a_genuine_sender_may_still_be_somebody_else() -> None:
    found = badges(request(to=[EVE]), Facts(KNOWN, Letter(EVE, genuine=True, message_id="<1@x>")))
    assert found[0] == Badge(Kind.LOOKALIKE, Severity.DANGER, f"{EVE} looks like {ANN}, and is not.")
    assert not dangers(
        badges(request(to=[EVE]), Facts(KNOWN | {EVE}, Letter(EVE, genuine=True, message_id="<1@x>")))
    ), "met before"


def test_an_answer_to_a_lookalike_of_the_sender_is_told_even_if_nobody_is_known() -> None:
    assert kinds(request(to=[EVE]), Facts(frozenset(), GENUINE))["lookalike"] is Severity.DANGER
    claimed = replace(request(to=[EVE]), source={"from_address": ANN})
    assert kinds(claimed, Facts(frozenset()))["lookalike"] is Severity.DANGER


def test_what_a_request_claims_takes_no_badge_away() -> None:
    forged = {"from_address": EVE, "sender_authenticated": True, "reply_to": EVE}
    facts = Facts(KNOWN, Letter(ANN, genuine=False))
    assert set(badges(request(to=[EVE]), facts)) <= set(badges(replace(request(to=[EVE]), source=forged), facts))


def test_a_reply_to_of_somebody_else_is_told() -> None:
    facts = Facts(KNOWN, replace(GENUINE, reply_to="bob@other.example"))
    assert kinds(request(to=["bob@other.example"]), facts) == {"reply_to": Severity.WARNING}
    assert kinds(request(), facts) == {}, "it does not go there"
    assert kinds(request(), Facts(KNOWN, replace(GENUINE, reply_to=ANN.upper()))) == {}


def test_a_large_list_is_told_from_its_first_recipient_too_many() -> None:
    people = [f"p{number}@third.example" for number in range(MANY)]
    assert "many_recipients" not in kinds(request(to=people[1:]), Facts(frozenset(people), GENUINE))
    many = request(to=people[: MANY // 2], bcc=people[MANY // 2 :])
    assert kinds(many, Facts(frozenset(people), GENUINE)) == {"many_recipients": Severity.WARNING}


def test_a_node_without_receipts_says_so_and_calls_nobody_new() -> None:
    assert kinds(request(), Facts(None, GENUINE)) == {"no_receipts": Severity.INFO}
    assert "new_recipient" not in kinds(request("payment", **PAYMENT), Facts(None))


@pytest.mark.parametrize("to", ["+43123456789", ["+43123456789"]])
def test_a_number_without_a_receipt_is_new(to: object) -> None:
    assert kinds(request("whatsapp_send", to=to), Facts(frozenset())) == {"new_recipient": Severity.WARNING}
    assert kinds(request("whatsapp_send", to=to), Facts(frozenset({"+43123456789"}))) == {}


# Who wrote


@pytest.mark.parametrize(
    ("letter", "badge"),
    [
        (GENUINE, {}),
        (Letter(ANN, genuine=False), {"sender_failed": Severity.DANGER}),
        (Letter(ANN), {"sender_unverified": Severity.WARNING}),
        (None, {"sender_unverified": Severity.INFO}),
    ],
)
def test_the_senders_verdict_is_this_nodes_own(letter: Letter | None, badge: dict[str, Severity]) -> None:
    claimed = replace(request(), source={"from_address": ANN, "sender_authenticated": True})
    assert kinds(claimed, Facts(KNOWN, letter)) == badge
    fresh = request("send_email", to=[ANN], subject="x")
    assert kinds(fresh, Facts(KNOWN, None)) == {}, "it answers nobody"


# Money


@pytest.mark.parametrize(
    ("fields", "last", "expected"),
    [
        ({"iban": IBAN}, LAST, {}),
        ({"iban": "DE89 3704 0044 0532 0130 00"}, LAST, {}),
        ({"iban": OTHER_IBAN}, LAST, {"bank_account_changed": Severity.DANGER}),
        ({}, LAST, {"bank_account_changed": Severity.WARNING}),
        ({"iban": IBAN}, replace(LAST, iban=""), {"bank_account_changed": Severity.DANGER}),
        ({"iban": IBAN, "amount": "40.01"}, LAST, {"amount_changed": Severity.WARNING}),
        ({"iban": IBAN, "amount": "40"}, LAST, {}),
        ({"iban": IBAN, "currency": "USD"}, LAST, {"amount_changed": Severity.WARNING}),
        ({"iban": IBAN}, None, {"new_recipient": Severity.WARNING}),
    ],
)
def test_a_payment_is_compared_with_the_last_receipt(
    fields: dict[str, Any], last: Deal | None, expected: dict[str, Severity]
) -> None:
    assert kinds(request("payment", **PAYMENT | fields), Facts(KNOWN, last=last)) == expected


def test_a_payee_that_looks_like_one_of_before_is_no_new_one() -> None:
    asked = request("payment", **PAYMENT | {"payee": "Acrne GmbH"})
    found = badges(asked, Facts(KNOWN, parties=frozenset({"Acme GmbH", "Zeta"})))
    assert dangers(found) == ["Acrne GmbH looks like Acme GmbH, and is not."]


@pytest.mark.parametrize(("kind", "word"), [("customer", "invoice"), ("expense", "expense")])
def test_a_first_invoice_and_a_first_expense_are_called_so(kind: str, word: str) -> None:
    lines = [{"description": "Work", "price": "50.00"}]
    fields = {"partner": "Acme", "lines": lines, "currency": "EUR", "due_date": "2026-12-24", "reference": "1"}
    (badge,) = badges(request("invoice", kind=kind, **fields), Facts(KNOWN))
    assert badge.words == f"New: the first {word} with Acme from here."


def test_an_invoice_is_compared_by_its_total() -> None:
    lines = [{"description": "Work", "quantity": "2", "price": "50.00", "tax": "15"}]
    asked = request("invoice", partner="Acme", lines=lines, currency="EUR", due_date="2026-12-24")
    last = Deal("post_invoice", "Acme", Decimal("115.00"), "EUR", "", "2026-05-01T10:00:00Z")
    assert kinds(asked, Facts(KNOWN, last=last)) == {}
    (badge,) = badges(asked, Facts(KNOWN, last=replace(last, amount=Decimal("100"))))
    assert badge.kind is Kind.AMOUNT_CHANGED and "115.00 EUR" in badge.words and "2026-05-01" in badge.words


# Links and letters


@pytest.mark.parametrize(
    ("text", "host", "pretends"),
    [
        ("see https://acme.example/a_(b), please.", "acme.example", ""),
        ("[acme.example](https://evil.example/x)", "evil.example", "acme.example"),
        ("[https://acme.example/pay](<https://evil.example> 'x')", "evil.example", "acme.example"),
        ("[acme\u200b.example](https://evil.example)", "evil.example", "acme.example"),
        ("[acme。example](https://evil.example)", "evil.example", "acme.example"),
        ("[our site](https://evil.example)", "evil.example", ""),
        ("[acme.example](https://www.acme.example/)", "www.acme.example", ""),
        ("[www.acme.example](https://acme.example/)", "acme.example", ""),
        ("[acme.example](https://login.acme.example/)", "login.acme.example", ""),
        ("[login.acme.example](https://acme.example/)", "acme.example", "login.acme.example"),
        ("[acme.example]: https://evil.example", "evil.example", "acme.example"),
        ("https://acme.example@evil.example/", "evil.example", "acme.example"),
        ("https://acme.example:x@evil.example:8080/", "evil.example", "acme.example"),
        ("https://acme.example%40evil.example/", "evil.example", "acme.example"),
        ("https://evil.example\\@acme.example", "evil.example", ""),
        ("HTTPS://Evil.EXAMPLE.?q", "evil.example", ""),
        ("www.evil.example", "www.evil.example", ""),
        ("(evil.example/pay)", "evil.example", ""),
        ("mailto:ann@acme.example?subject=x", "acme.example", ""),
        ("[bob@acme.example](mailto:ann@acme.example)", "acme.example", ""),
        ("[ann@acme.example](mailto:eve@evil.example)", "evil.example", "acme.example"),
        ("[acme.example](javascript:alert)", "", "acme.example"),
        ("https://xn--80ak6aa92e.com", "аррӏе.com", ""),
    ],
)
def test_a_link_leads_where_a_browser_goes(text: str, host: str, pretends: str) -> None:
    link = links.found(text)[0]
    assert (link.host, link.pretends) == (host, pretends)


def test_words_that_are_a_link_themselves_are_listed_too() -> None:
    found = links.found("[https://acme.example/pay](<https://evil.example>)")
    assert [link.target for link in found] == ["https://evil.example", "https://acme.example/pay"]


@pytest.mark.parametrize("text", ["plain words", "at 10:30. And so on", "a/b", "ann@acme.example", "3.5/4", "e.g./x"])
def test_words_are_no_links(text: str) -> None:
    assert links.found(text) == []


def test_every_field_that_leaves_is_searched_for_links_and_unseen_characters() -> None:
    for action, field in [
        ("linkedin_post", {"link": "https://evil.example"}),
        ("whatsapp_send", {"to": "+1", "template": {"name": "x", "parameters": ["https://evil.example"]}}),
        ("reply_email", {"subject": "https://evil.example"}),
    ]:
        assert [link.host for link in targets(request(action, **field))] == ["evil.example"], action
    hidden = "a\u202eb"
    for action, field in [
        ("facebook_post", {"image": {"alt": hidden}}),
        ("whatsapp_send", {"to": "+1", "template": {"parameters": {hidden: "x"}}}),
        ("payment", PAYMENT | {"payee": hidden}),
        ("invoice", {"partner": "A", "lines": [{"description": hidden}]}),
        ("send_email", {"to": [ANN], "subject": hidden}),
    ]:
        assert kinds(request(action, **field), Facts(KNOWN))["direction"] is Severity.DANGER, action
    assert [link.host for link in targets(request("twitter_post", "read evil.com now"))] == ["evil.com"]


def test_a_link_to_a_lookalike_of_somebody_known_is_told() -> None:
    asked = request(draft="Pay at https://acrne.example/pay, or https://mail.acme.example.")
    assert dangers(badges(asked, Facts(KNOWN, GENUINE))) == [
        "The host acrne.example of a link looks like acme.example, and is not."
    ]


def test_more_links_than_anybody_looks_at_ask_for_a_confirmation() -> None:
    some = " ".join(f"https://h{number}.example" for number in range(links.MAX_LINKS))
    assert kinds(request(draft=some), Facts(KNOWN, GENUINE)) == {"links": Severity.INFO}
    assert kinds(request(draft=f"{some} https://more.example"), Facts(KNOWN, GENUINE)) == {"links": Severity.DANGER}


def test_attachments_are_named() -> None:
    files = [{"path": "Accounting/a.pdf", "sha256": "0" * 64}]
    (badge,) = badges(request(attachments=files), Facts(KNOWN, GENUINE))
    assert badge.kind is Kind.ATTACHMENTS and "Accounting/a.pdf" in badge.words


# Lookalikes


@pytest.mark.parametrize(
    ("name", "known", "alike"),
    [
        ("acrne.example", "acme.example", True),
        ("acme.exarnple", "acme.example", True),
        ("acmee.example", "acme.example", True),
        ("xacme.example", "acme.example", True),
        ("amce.example", "acme.example", True),
        ("acme.exemple", "acme.example", True),
        ("аcme.example", "acme.example", True),
        ("xn--cme-5cd.example", "acme.example", True),
        ("paypa1.com", "paypal.com", True),
        ("paypaI.com", "paypal.com", True),
        ("acme.example.evil.test", "acme.example", True),
        ("acme-example.test", "acme.example", True),
        ("acme.test", "acme.example", True),
        ("acme.example", "acme.example", False),
        ("ACME.example.", "acme.example", False),
        ("mail.acme.example", "acme.example", False),
        ("acme.example", "mail.acme.example", False),
        ("other.example", "acme.example", False),
        ("abc.example", "abd.example", False),
        ("abc.test", "abc.example", False),
        ("acme.example", "example", False),
    ],
)
def test_hosts_that_look_alike(name: str, known: str, alike: bool) -> None:
    assert lookalike.is_host_like(name, known) is alike


def test_addresses_that_look_alike() -> None:
    smith = "anna.smith@acme.example"
    known = frozenset({ANN, smith, "not an address", "+43123456789"})
    for trick, whom in [
        ("anna.srnith@acme.example", smith),
        ("ana.smith@acme.example", smith),
        ("anna.smith1@acme.example", smith),
        ("ann@acme.test", ANN),  # the same person below another ending
        ("anna.smiht@acme.test", smith),
        ("whoever@acme.exarnple", ANN),
        ("whoever@acme.exemple", ANN),
        ("whoever@acne.example", ANN),
        ("whoever@acme.example.evil.test", ANN),
    ]:
        assert lookalike.first_like(trick, known) == (whom, True), trick
    assert lookalike.first_like("ANN@acme.example", known) is None
    assert lookalike.first_like("+43123456780", known) is None


def test_honest_people_are_no_tricks() -> None:
    """Else one learns not to read the word: a new user's first two contacts were called a trick."""
    known = frozenset({"ann@example.com", "dan30@example.com", "invoice.2025@example.com"})
    for other in ("dan@example.com", "anna@example.com", "dan34@example.com", "dana30@example.com",
                  "invoice.2026@example.com"):  # fmt: skip
        assert lookalike.first_like(other, known) is None, other
    for other in ("zoe@example.org", "eve90@example.net", "dan34@example.net"):
        assert lookalike.first_like(other, known) == ("ann@example.com", False), other
    found = badges(request(to=["zoe@example.org"]), Facts(known, GENUINE))
    assert found[0].kind is Kind.LOOKALIKE and found[0].severity is Severity.WARNING and not dangers(found)


def test_hosts_that_are_met_are_two_hosts() -> None:
    """Somebody new there is a trick only where the name is that of somebody known at the other one."""
    known = frozenset({ANN, "bob@acne.example", "bob@acme.test", EVE})
    for other in ("dan@acne.example", "dan@acme.test"):
        assert lookalike.first_like(other, known - {EVE}) is None, other
    for other in ("ann@acne.example", "ann@acme.test"):
        assert lookalike.first_like(other, known - {EVE}) == (ANN, True), other
    assert lookalike.first_like("dan@acrne.example", known) == (ANN, True), "what looks the same never is honest"


def slips(word: str) -> set[str]:
    """Every word one slip away, by the definition."""
    letters, places = "abc", range(len(word))
    return (
        {word[:at] + word[at + 1 :] for at in places}
        | {word[:at] + new + word[at:] for at in range(len(word) + 1) for new in letters}
        | {word[:at] + new + word[at + 1 :] for at in places for new in letters}
        | {word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :] for at in places[:-1]}
    ) - {word}


def test_who_writes_from_a_host_one_slip_away_has_not_made_it_honest() -> None:
    known = frozenset({"ann@acme.example"})
    wrote = frozenset({"x@acmee.example"})
    assert lookalike.first_like("pay@acmee.example", known, wrote) == ("ann@acme.example", True)
    assert lookalike.first_like("pay@acmee.example", known | wrote) is None, "a host that we wrote to is one"
    assert lookalike.first_like("ann@acrne.example", frozenset(), known) == ("ann@acme.example", True)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_slip_is_what_the_definition_says(one: str, other: str) -> None:
    assert lookalike.is_one_slip(one, other) == (other in slips(one))
    for near in slips(one):
        assert lookalike.is_one_slip(one, near) and lookalike.is_one_slip(near, one)


HOSTS = st.from_regex(r"[a-z]{4,10}\.(?:example|test)", fullmatch=True)


@given(HOSTS, HOSTS)
def test_being_alike_has_no_side_and_nothing_is_like_itself(one: str, other: str) -> None:
    assert not lookalike.is_host_like(one, one)
    assume(one not in other and other not in one)
    assert lookalike.is_host_like(one, other) == lookalike.is_host_like(other, one)


@given(HOSTS, st.data())
def test_any_slip_in_a_known_domain_is_found(known: str, data: st.DataObject) -> None:
    name, ending = known.split(".")
    at = data.draw(st.integers(0, len(name) - 1))
    new = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    assume(new != name[at])
    found = badges(request(to=[f"x@{name[:at]}{new}{name[at + 1 :]}.{ending}"]), Facts(frozenset({f"ann@{known}"})))
    assert found[0].kind is Kind.LOOKALIKE


# Whatever anybody writes


FOREIGN = st.text(max_size=40) | st.sampled_from(
    ["\u202eevil", "a\n- danger: b", "https://x@y", "[a.b](c)", "xn--", "@"]
)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | FOREIGN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FOREIGN, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(ACTIONS)), FOREIGN, st.data())
def test_no_request_breaks_the_badges_or_writes_a_line_of_its_own(action: str, draft: str, data: st.DataObject) -> None:
    spec = ACTIONS[action]
    fields = {
        name: data.draw(st.lists(FOREIGN, max_size=3) if name in spec.addresses else NESTED)
        for name in spec.required + spec.optional
    }
    letter = Letter(data.draw(FOREIGN), data.draw(FOREIGN), data.draw(st.none() | st.booleans()))
    facts = Facts(frozenset(data.draw(st.lists(FOREIGN))), letter, frozenset(data.draw(st.lists(FOREIGN))))
    found = badges(replace(request(), action=action, fields=fields, draft=draft), facts)
    for badge in found:
        assert len(badge.words.splitlines()) == 1 and not visible.has_hidden(badge.words), badge
    order = [Severity.DANGER, Severity.WARNING, Severity.INFO]
    assert [badge.severity for badge in found] == sorted((b.severity for b in found), key=order.index)
