"""What is checked before a person is asked: the limits of each provider, X's counting, WhatsApp's window."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.social_kit import NUMBER, image, jpeg, png, request
from utils.core import social, tweet, whatsapp
from utils.core.policy import ActionPolicy, ApproveBy, move_is_enough
from utils.core.social import LIMITS
from utils.core.task import InvalidTask

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


# X's counting


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("This is a test.", 15),
        ("http://test.com", 23),
        ("https://test.com", 23),
        ("test.com", 23),
        ("HTTPS://www.ExaMPLE.COM/index.html", 23),
        ("Test https://test.com test https://test.com test.com test", 86),
        (f"https://example.com/{'a' * 400}", 23),
        ("\U00010000\U0010ffff", 4),
        ("저찀쯿쿿", 8),
        ("H\U0001f431☺", 5),
        ("A lié géts halfway arøünd", 25),
        ("e\u0301", 1),  # é in its normal form is one
        ("👨‍👩‍👧‍👦", 2),
        ("🙋🏽", 2),
        ("🇦🇹", 2),
        ("1️⃣", 2),
        ("’ is 1, … is 2", 15),  # U+2019 lies in a light range, U+2026 does not
        ("no.url.herefoo", 14),
        ("a@test.com", 10),
        ("english text 日本語 😷 https://example.com", 46),
        ("日本語test.com", 29),
        ("see (https://test.com/a_(b)).", 30),
        ("one\n\ntwo\u3000three", 15),
        ("", 0),
    ],
)
def test_a_post_weighs_what_x_counts(text: str, weight: int) -> None:
    """The published conformance cases (twitter-text 3, validate.yml), and more of the same rule."""
    assert tweet.weighted_length(text) == weight


@pytest.mark.parametrize("unit", ["a", "の", "🐱", "é"])
def test_the_limit_is_280_by_weight(unit: str) -> None:
    most = 280 // tweet.weighted_length(unit)
    assert tweet.problems(unit * most) == []
    (said,) = tweet.problems(unit * most + unit)
    assert "at most 280" in said


def test_text_is_counted_in_steps_that_grow_with_its_length_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's time grows with the cube of what it is given at once: it never gets more than a word."""
    import twitter_text

    given: list[str] = []
    real = twitter_text.parse_tweet
    monkeypatch.setattr(twitter_text, "parse_tweet", lambda text: given.append(text) or real(text))
    tweet.weighted_length.cache_clear()
    assert tweet.weighted_length("a. b. https://example.org/ c") == 31
    assert all(not re.search(r"\s", word) for word in given)
    assert "at most 280" in tweet.problems("a." * 50_000)[0] and len(given) == 4, "too long to be counted at all"


def test_what_x_refuses_anywhere() -> None:
    assert tweet.problems("a\ufeffb") and tweet.problems("a\uffffb") and not tweet.problems("a\u200db")


# Posts


def problems(action: str, text: str = "News", **fields: Any) -> str:
    if action == "instagram_post" and "image" not in fields:
        fields["image"] = image(jpeg())
    return "; ".join(social.problems(request(action, text, **fields)))


@pytest.mark.parametrize("action", LIMITS)
def test_a_plain_post_can_be_made(action: str) -> None:
    assert problems(action) == ""
    assert problems(action, image=image(jpeg())) == ""


@pytest.mark.parametrize(
    ("action", "most"), [("linkedin_post", 3000), ("facebook_post", 63_206), ("instagram_post", 2200)]
)
def test_the_text_has_the_provider_s_length(action: str, most: int) -> None:
    assert problems(action, "x" * most) == ""
    assert f"at most {most}" in problems(action, "x" * (most + 1))
    assert f"at most {most}" in problems(action, "🐱" * (most // 2 + 1)), "counted in UTF-16, as they do"


def test_instagram_needs_a_jpeg_and_counts_tags() -> None:
    with pytest.raises(InvalidTask, match="needs 'image'"):
        request("instagram_post")
    assert ".jpg, not 'Social/shop.png'" in problems("instagram_post", image=image(png(), "Social/shop.png"))
    assert problems("instagram_post", " ".join(f"#t{n}" for n in range(30))) == ""
    assert "31 hashtags" in problems("instagram_post", " ".join(f"#t{n}" for n in range(31)))
    assert "21 mentions" in problems("instagram_post", " ".join(f"@t{n}" for n in range(21)))
    assert problems("instagram_post", "ann@example.org " * 30) == "", "an address mentions nobody"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("shop.jpg", "'image' needs 'path' and 'sha256'"),
        ({"path": "Social/shop.jpg"}, "no 'sha256'"),
        ({**image(b""), "path": "../shop.jpg"}, "must be the path of a file in the vault"),
        ({**image(b""), "path": ".obsidian/shop.jpg"}, "must be the path of a file in the vault"),
        ({**image(b""), "url": "http://evil"}, "and nothing else"),
        ({**image(b""), "path": "Social/shop.svg"}, "takes"),
        ({**image(b""), "alt": "x" * 5000}, "'alt' has 5000"),
        ({**image(b""), "alt": ["x"]}, "one line of text"),
        ({**image(b""), "alt": "two\nlines"}, "one line of text"),
    ],
)
@pytest.mark.parametrize("action", LIMITS)
def test_an_image_is_a_frozen_file_of_the_vault(action: str, value: Any, said: str) -> None:
    assert said in problems(action, image=value)
    with pytest.raises(InvalidTask):
        social.post(request(action, image=value))


@pytest.mark.parametrize(
    "link",
    ["example.org", "javascript:alert(1)", "https://", "https://a b", "https://us@er.example", "https://ü.at", 7],
)
def test_a_link_is_the_address_of_a_page(link: Any) -> None:
    assert "'link' must be" in problems("linkedin_post", link=link)
    assert problems("facebook_post", link="https://example.org/news?a=1#b") == ""
    assert "not both" in problems("facebook_post", link="https://example.org", image=image(jpeg()))


def test_a_move_alone_does_not_publish_an_image_that_only_the_properties_name() -> None:
    (doubt,) = request("linkedin_post", image=image(jpeg())).doubts
    assert doubt == "It takes files along, named in the properties alone: shop.jpg (Social/shop.jpg)."
    assert request("linkedin_post").doubts == () == request("linkedin_post", image="shop.jpg").doubts


def test_an_empty_draft_needs_an_image() -> None:
    assert "the draft is empty" in problems("twitter_post", "  \n ")
    assert problems("twitter_post", "  \n ", image=image(jpeg())) == ""
    assert "carriage return" in problems("linkedin_post", "a\rb")


@pytest.mark.parametrize(
    ("action", "data", "size", "said"),
    [
        ("instagram_post", jpeg(), (800, 800), ""),
        ("instagram_post", jpeg(), (1910, 1000), ""),
        ("instagram_post", jpeg(), (1920, 1000), "between 4:5 and 1.91:1"),
        ("instagram_post", jpeg(), (790, 1000), "between 4:5 and 1.91:1"),
        ("instagram_post", jpeg(), (319, 319), "at least 320"),
        ("linkedin_post", jpeg(), (6000, 6025), ""),
        ("linkedin_post", jpeg(), (6000, 6026), "36152319 in all"),
        ("twitter_post", jpeg() + b"x" * 5_000_000, (9, 9), "at most 5000000"),
        ("facebook_post", jpeg() + b"x" * 4_000_000, (9, 9), "at most 4000000"),
        ("facebook_post", png(), (9, 9), "no image of the kind"),
        ("facebook_post", b"<svg/>", (-1, -1), "no image of the kind"),
        ("facebook_post", jpeg(), (-1, -1), "no image of the kind"),
    ],
)
def test_an_image_is_what_the_provider_takes(action: str, data: bytes, size: tuple[int, int], said: str) -> None:
    post = social.post(request(action, image=image(data)))
    assert post.image is not None
    found = social.image_problems(action, post.image, data, size)
    assert (found == []) if not said else (said in found[0])


# WhatsApp


def wrong(text: str = "Hello", **fields: Any) -> str:
    return "; ".join(whatsapp.problems(request("whatsapp_send", text, **fields)))


@pytest.mark.parametrize(
    "to", ["43660123456", "+0660123456", "+4366", "+43 660 123456", "+4366012345678901", "Ann", 43]
)
def test_a_number_is_written_as_e164(to: Any) -> None:
    assert "telephone number" in wrong(to=to)


def test_free_text_answers_a_message_of_the_same_number() -> None:
    received = NOON - timedelta(hours=23)
    source = {"from_number": NUMBER, "received": received.isoformat()}
    assert whatsapp.message(request("whatsapp_send", "Hello", source=source)).window_ends == received + timedelta(
        hours=24
    )
    for bad in ({}, {"from_number": "+43660999999"}, {"received": "soon"}, {"received": "9999-12-31T23:59:59Z"}):
        source_ = {**source, **bad} if bad else {"from_number": "+1"}
        assert "without a 'template'" in wrong(source=source_)
    assert "at most 4096" in wrong("x" * 4097) and "the draft is empty" in wrong(" ")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"name": "hello", "language": "de", "parameters": ["Ann"]}, ""),
        ({"name": "hello", "language": "en_US", "parameters": {"city": "Graz"}}, ""),
        ("hello", "needs 'name' and 'language'"),
        ({"name": "Hello", "language": "de"}, "small letters"),
        ({"name": "hello", "language": "german"}, "its code"),
        ({"name": "hello", "language": "de", "parameters": [1]}, "texts"),
        ({"name": "hello", "language": "de", "parameters": [""]}, "texts"),
        ({"name": "hello", "language": "de", "parameters": ["a\nb"]}, "line break"),
        ({"name": "hello", "language": "de", "parameters": ["a     b"]}, "more than four blanks"),
        ({"name": "hello", "language": "de", "parameters": ["x"] * 51}, "more than 50"),
        ({"name": "hello", "language": "de", "to": "+1"}, "nothing else"),
    ],
)
def test_a_template_is_named_with_its_language_and_its_texts(template: Any, said: str) -> None:
    found = wrong(to=NUMBER, template=template)
    assert (found == "") if not said else (said in found)
    if said:
        with pytest.raises(InvalidTask):
            whatsapp.message(request("whatsapp_send", to=NUMBER, template=template))


def test_places_of_a_template_are_all_filled_and_once() -> None:
    assert whatsapp.fill("Hello {{1}}, on {{2}}", ("Ann", "Monday")) == "Hello Ann, on Monday"
    assert whatsapp.fill("Hello {{name}}", {"name": "{{1}}"}) == "Hello {{1}}", (
        "what is filled in is not looked at again"
    )
    assert whatsapp.fill("Hello {{1}}", ()) is None and whatsapp.fill("Hello", ("Ann",)) is None


def test_a_move_does_not_approve_a_first_message_to_a_number() -> None:
    by_move = ActionPolicy(ApproveBy.MOVE, 24)
    assert not move_is_enough("whatsapp_send", {"to": NUMBER}, None, by_move, ())[0]
    assert move_is_enough("whatsapp_send", {"to": NUMBER}, None, by_move, {NUMBER})[0]
    assert move_is_enough("linkedin_post", {}, None, by_move, ())[0]


@given(
    st.text(
        st.sampled_from("aé日.:/#@?=()-_ \n\u3000\x1c\u200d\u0301😷👩🏽1️⃣") | st.characters(codec="utf-8"), max_size=60
    )
)
@settings(max_examples=300)
def test_word_by_word_counts_what_the_whole_text_counts(text: str) -> None:
    from twitter_text import parse_tweet

    for whole in (text, f"see https://example.org/{text} and test.com{text}"):
        assert tweet.weighted_length(whole) == parse_tweet(whole).weightedLength
