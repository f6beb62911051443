"""The clients against strict emulators: what is published, and what every failure proves."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes import linkedin as li
from tests.fakes import meta, x
from tests.fakes.linkedin import LinkedInServer
from tests.fakes.meta import MetaServer
from tests.fakes.provider import Answer, Call, Fault, Provider
from tests.fakes.x import XServer
from tests.servers import free_port
from tests.social_kit import TEXT, image, impatient, jpeg, request
from utils.adapters.social import linkedin as linkedin_client
from utils.adapters.social.facebook import FacebookPage
from utils.adapters.social.http import Api, Bearer
from utils.adapters.social.instagram import Instagram
from utils.adapters.social.linkedin import LinkedIn
from utils.adapters.social.x import Keys, X
from utils.core import social
from utils.core.acting import Absence, Receipt
from utils.core.social import Post
from utils.ports import AdapterError, AuthRefused, OutcomeUnknown

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PICTURE = jpeg()
TIMEOUT = 60.0


def noon() -> datetime:
    return NOON


class Setup:
    """One provider with our client for it. `commit`: the call that acts."""

    def __init__(self, server: Provider, client: Any, action: str, commit: str, uploads: tuple[str, ...]) -> None:
        self.server, self.client, self.action, self.commit, self.uploads = server, client, action, commit, uploads

    def post(self, text: str = TEXT, *, picture: bool = True, **fields: Any) -> Post:
        if picture:
            fields["image"] = image(PICTURE)
        found = social.post(request(self.action, text, **fields))
        return Post(found.text, found.link, found.image, PICTURE if picture else b"")

    def publish(self, post: Post | None = None) -> Receipt:
        post = post or self.post()
        receipt = self.client.publish(post, self.client.prepare(post))
        assert isinstance(receipt, Receipt)
        return receipt


def set_up(name: str, url: str, pauses: list[float], *, timeout: float = TIMEOUT) -> Any:
    """Our client of a provider at `url`."""
    if name == "linkedin":
        return LinkedIn(url, li.TOKEN, author=li.AUTHOR, version=li.VERSION, timeout=timeout)
    if name == "x":
        return X(url, Keys(x.KEY, x.SECRET, x.TOKEN, x.TOKEN_SECRET), timeout=timeout)
    if name == "facebook":
        return FacebookPage(url, meta.PAGE_TOKEN, page_id=meta.PAGE, version=meta.VERSION, timeout=timeout)
    return Instagram(
        url, meta.PAGE_TOKEN, user_id=meta.IG_USER, page_id=meta.PAGE, version=meta.VERSION, timeout=timeout,
        pause=pauses.append,
    )  # fmt: skip


V = f"/{meta.VERSION}"
PHOTOS = f"POST {V}/{meta.PAGE}/photos"
PROVIDERS: dict[str, tuple[type[Provider], str, str, tuple[str, ...]]] = {
    "linkedin": (LinkedInServer, "linkedin_post", "POST /rest/posts", ("POST /rest/images", "PUT /dms-uploads")),
    "facebook": (MetaServer, "facebook_post", f"POST {V}/{meta.PAGE}/feed", (PHOTOS,)),
    "instagram": (
        MetaServer, "instagram_post", f"POST {V}/{meta.IG_USER}/media_publish",
        (PHOTOS, f"GET {V}/9001", f"POST {V}/{meta.IG_USER}/media", f"GET {V}/9002"),
    ),
    "x": (XServer, "twitter_post", "POST /2/tweets", ("POST /2/media/upload", "POST /2/media/metadata")),
}  # fmt: skip
UPLOADS = [(name, call) for name, (_, _, _, calls) in PROVIDERS.items() for call in calls]


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def make(pauses: list[float]) -> Iterator[Callable[[str], Setup]]:
    running: list[Provider] = []

    def start(name: str) -> Setup:
        server, action, commit, uploads = PROVIDERS[name]
        running.append(server(noon).__enter__())
        return Setup(running[-1], set_up(name, running[-1].url, pauses), action, commit, uploads)

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture(params=list(PROVIDERS))
def setup(request: pytest.FixtureRequest, make: Callable[[str], Setup]) -> Setup:
    return make(request.param)


# What is published


def test_text_and_image_are_published_as_they_were_approved(setup: Setup) -> None:
    receipt = setup.publish()
    (entry,) = setup.server.ledger
    assert receipt.id == entry["id"] and receipt.provider == social.LIMITS[setup.action].provider
    assert TEXT in (entry.get("text"), entry.get("message"), entry.get("caption"))


def test_the_image_s_bytes_and_its_description_arrive(make: Callable[[str], Setup]) -> None:
    said = "Our shop, its door open"
    linkedin = make("linkedin")
    linkedin.publish()
    assert isinstance(linkedin.server, LinkedInServer) and list(linkedin.server.images.values()) == [PICTURE]
    assert linkedin.server.ledger[0]["content"]["media"]["altText"] == said
    for name in ("facebook", "instagram"):
        setup = make(name)
        setup.publish()
        assert isinstance(setup.server, MetaServer)
        (photo,) = setup.server.photos.values()
        assert photo["data"] == PICTURE and photo["alt_text_custom"] == said
        assert ("temporary" in photo) is (name == "instagram"), "of a post on the Page the photo stays"
    on_x = make("x")
    on_x.publish()
    assert isinstance(on_x.server, XServer) and list(on_x.server.media.values()) == [{"data": PICTURE, "alt": said}]


@pytest.mark.parametrize("name", ["linkedin", "facebook", "x"])
def test_text_alone_is_one_call(make: Callable[[str], Setup], name: str) -> None:
    setup = make(name)
    setup.publish(setup.post(picture=False))
    assert len(setup.server.calls) == 1 == len(setup.server.ledger)


def test_a_link_is_a_preview_where_the_provider_makes_one(make: Callable[[str], Setup]) -> None:
    for name in ("linkedin", "facebook"):
        setup = make(name)
        setup.publish(setup.post(picture=False, link="https://example.org/news"))
        assert "https://example.org/news" in str(setup.server.ledger[0])


@pytest.mark.parametrize(
    "text", [TEXT, "a (b", "100 % \\ {x|y} <z> [q] ~u~ _v_ *w* @me", "#tag and # alone, a#b ##c", "\\(", "\\\\#"]
)
def test_linkedin_reads_what_was_written(make: Callable[[str], Setup], text: str) -> None:
    """An unescaped bracket would cut the rest off."""
    setup = make("linkedin")
    receipt = setup.publish(setup.post(text, picture=False))
    assert setup.server.ledger[0]["text"] == text
    assert linkedin_client.plain_text(linkedin_client.little_text(text)) == text
    assert setup.client.find(setup.post(text, picture=False), "", NOON) == receipt


def test_instagram_waits_until_its_container_is_ready(make: Callable[[str], Setup], pauses: list[float]) -> None:
    setup = make("instagram")
    assert isinstance(setup.server, MetaServer)
    setup.server.states = ["IN_PROGRESS", "IN_PROGRESS"]
    setup.publish()
    assert pauses == [1, 2] and len(setup.server.ledger) == 1
    for states, retry in ((["ERROR"], False), (["EXPIRED"], False), (["IN_PROGRESS"] * 7, True)):
        setup.server.states = states
        with pytest.raises(AdapterError) as refused:
            setup.client.prepare(setup.post())
        assert refused.value.retry is retry and len(setup.server.ledger) == 1


def test_a_token_goes_nowhere_but_to_linkedin(make: Callable[[str], Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make("linkedin")
    with LinkedInServer(noon) as elsewhere:
        real = setup.server.route

        def elsewhere_(call: Call) -> Answer:
            status, body, headers = real(call)
            if body and "value" in body:
                body["value"]["uploadUrl"] = f"{elsewhere.url}/dms-uploads/1"
            return status, body, headers

        monkeypatch.setattr(setup.server, "route", elsewhere_)
        with pytest.raises(AdapterError, match="no place to upload"):
            setup.client.prepare(setup.post())
        assert elsewhere.calls == []


# What a failure proves


@pytest.mark.parametrize(
    "kind", ["503 after", "reset after", "silence after", "503 before", "reset before", "silence before"]
)
def test_nobody_knows_what_became_of_a_commit_whose_answer_got_lost(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind.startswith("silence"):
        impatient(monkeypatch, setup.commit)
    setup.server.faults.append(Fault(setup.commit, kind))
    with pytest.raises(OutcomeUnknown):
        setup.publish()
    assert setup.server.hits(setup.commit) == 1, "never tried again"
    assert len(setup.server.ledger) == (1 if kind.endswith("after") else 0)


@pytest.mark.parametrize(("name", "call"), UPLOADS)
@pytest.mark.parametrize("kind", ["503 after", "reset after", "503 before", "silence before", "429", "expired"])
def test_before_the_commit_nothing_is_unknown(
    make: Callable[[str], Setup], monkeypatch: pytest.MonkeyPatch, name: str, call: str, kind: str
) -> None:
    setup = make(name)
    if kind.startswith("silence"):
        impatient(monkeypatch, call)
    setup.server.faults.append(Fault(call, kind))
    with pytest.raises(AdapterError) as failed:
        setup.publish()
    assert failed.value.retry is (kind != "expired") and isinstance(failed.value, AuthRefused) is (kind == "expired")
    assert setup.server.ledger == [] and setup.server.hits(setup.commit) == 0


def test_too_many_calls_can_be_tried_again_and_an_expired_token_can_not(setup: Setup) -> None:
    setup.server.faults += [Fault(setup.commit, "429"), Fault(setup.commit, "expired")]
    with pytest.raises(AdapterError) as throttled:
        setup.publish()
    assert throttled.value.retry
    with pytest.raises(AuthRefused):
        setup.publish()
    assert setup.server.ledger == []


def test_a_refusal_says_why_and_is_not_tried_again(setup: Setup) -> None:
    if setup.action == "instagram_post":
        with pytest.raises(AdapterError, match="Media ID is not available") as refused:
            setup.client.publish(setup.post(), "1")
    else:
        setup.publish(setup.post(picture=False))
        with pytest.raises(AdapterError, match=r"(?i)duplicate") as refused:
            setup.publish(setup.post(picture=False))
    assert not refused.value.retry and not isinstance(refused.value, AuthRefused)


@pytest.mark.parametrize("name", PROVIDERS)
def test_nothing_was_done_where_nobody_listens(name: str) -> None:
    client = set_up(name, f"http://127.0.0.1:{free_port()}", [])
    with pytest.raises(AdapterError, match="can't be reached") as refused:
        client.publish(Post("News"), "1")
    assert refused.value.retry


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(make: Callable[[str], Setup], monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    setup = make("facebook")
    monkeypatch.setattr(setup.server, "route", lambda call: (status, None, {"Location": f"{setup.server.url}/again"}))
    with pytest.raises(OutcomeUnknown):
        setup.client.publish(setup.post(picture=False), "")
    assert len(setup.server.calls) == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"code": 100, "message": "no"}}, (AdapterError, False)),
        (400, {"error": {"code": 1, "message": "An unknown error occurred"}}, OutcomeUnknown),
        (400, {"error": {"code": 2, "message": "Service temporarily unavailable"}}, OutcomeUnknown),
        (400, {"error": {"code": 99, "is_transient": True, "message": "try"}}, OutcomeUnknown),
        (400, {"error": {"code": 190, "message": "expired"}}, (AuthRefused, False)),
        (403, {"error": {"code": 200, "message": "permission"}}, (AuthRefused, False)),
        (403, {"error": {"code": 10, "message": "permission"}}, (AuthRefused, False)),
        (403, {"error": {"code": 368, "message": "policies"}}, (AdapterError, False)),
        (400, {"error": {"code": 4, "message": "calls"}}, (AdapterError, True)),
        (429, {"error": {"code": 80007, "message": "calls"}}, (AdapterError, True)),
        (500, {"error": {"code": 131000, "message": "wrong"}}, OutcomeUnknown),
        (500, {"error": {"code": 100, "message": "no"}}, OutcomeUnknown),
        (400, "<html>", (AdapterError, False)),
        (401, "", (AuthRefused, False)),
        (408, "", OutcomeUnknown),
        (409, "", OutcomeUnknown),
        (502, "<html>", OutcomeUnknown),
        (200, "no json", OutcomeUnknown),
        (200, {"error": {"code": 1}}, OutcomeUnknown),
        (204, None, OutcomeUnknown),
    ],
)
def test_what_meta_s_answers_prove(
    make: Callable[[str], Setup], monkeypatch: pytest.MonkeyPatch, status: int, body: Any, expected: Any
) -> None:
    setup = make("facebook")
    monkeypatch.setattr(setup.server, "route", lambda call: (status, body, {}))
    kind, retry = expected if isinstance(expected, tuple) else (expected, None)
    with pytest.raises(kind) as failed:
        setup.client.publish(setup.post(picture=False), "")
    assert type(failed.value) is kind and (retry is None or failed.value.retry is retry)


@pytest.mark.parametrize("headers", [{"Content-Length": "100"}, {"Content-Encoding": "gzip"}, {"X-Odd": "a" * 70_000}])
def test_an_answer_that_can_not_be_read_proves_nothing(
    make: Callable[[str], Setup], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """The library calls two lengths in an answer an invalid header, just as it does with one of ours."""
    setup = make("x")
    monkeypatch.setattr(setup.server, "route", lambda call: (201, "{", headers))
    with pytest.raises(OutcomeUnknown):
        setup.client.publish(setup.post(picture=False), "")


@pytest.mark.parametrize("token", ["a\nb", "a b", "tökén", "日本", ""])
def test_a_token_that_can_not_be_one_is_refused_before_anything_is_sent(
    make: Callable[[str], Setup], token: str
) -> None:
    setup = make("linkedin")
    broken = LinkedIn(setup.server.url, token, author=li.AUTHOR, version=li.VERSION, timeout=TIMEOUT)
    with pytest.raises(AdapterError, match="can't be used") as refused:
        broken.publish(setup.post(picture=False), "")
    assert not refused.value.retry and setup.server.calls == []


def test_a_version_that_is_served_no_more_is_told(make: Callable[[str], Setup]) -> None:
    setup = make("linkedin")
    old = LinkedIn(setup.server.url, li.TOKEN, author=li.AUTHOR, version="202401", timeout=TIMEOUT)
    with pytest.raises(AdapterError, match="set a newer month"):
        old.publish(setup.post(picture=False), "")


def test_a_certificate_that_can_not_be_trusted_is_met_before_anything_is_sent(tmp_path: Any) -> None:
    import subprocess

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1"]
    subprocess.run([*map(str, command), "-subj", "/CN=localhost"], check=True, capture_output=True)
    with XServer(noon) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        client = set_up("x", server.url.replace("http://127.0.0.1", "https://localhost"), [], timeout=10)
        with pytest.raises(AdapterError, match="can't be trusted"):
            client.publish(Post("News"), "")
        assert server.calls == []


def test_no_secret_is_told(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (li.TOKEN, meta.PAGE_TOKEN, x.TOKEN, x.SECRET, x.TOKEN_SECRET)
    told = [repr(setup.client), repr(setup.client.__dict__)]
    for kind in ("503 before", "reset before", "429", "expired"):
        setup.server.faults.append(Fault(setup.commit, kind))
        with pytest.raises((AdapterError, OutcomeUnknown)) as failed:
            setup.publish()
        told.append(str(failed.value))
    assert not [secret for secret in secrets for text in told if secret in text]


def test_no_netrc_takes_the_token_s_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with LinkedInServer(noon) as server:
        api = Api("LinkedIn", server.url, Bearer(li.TOKEN), timeout=TIMEOUT, credentials="")
        with pytest.raises(AdapterError, match="refused it"):
            api.read("GET", "/rest/nothing")
        assert server.calls[0].headers["authorization"] == f"Bearer {li.TOKEN}"


def test_a_connection_serves_one_call_even_where_the_provider_would_keep_it(setup: Setup) -> None:
    """One that was closed meanwhile would leave the outcome of the next call open."""
    setup.server.keeps_connections = True
    setup.publish()
    ports = [call.port for call in setup.server.calls]
    assert len(ports) > 1 and len(set(ports)) == len(ports)


# What is found


@pytest.mark.parametrize("picture", [True, False])
def test_what_was_published_is_found_again(setup: Setup, picture: bool) -> None:
    if setup.action == "instagram_post" and not picture:
        return
    post = setup.post(picture=picture)
    media = setup.client.prepare(post)
    setup.server.faults.append(Fault(setup.commit, "reset after"))
    with pytest.raises(OutcomeUnknown):
        setup.client.publish(post, media)
    found = setup.client.find(post, media, NOON)
    assert isinstance(found, Receipt) and setup.server.ledger[0]["id"] in f"{found.id} {found.detail}"
    assert setup.server.hits(setup.commit) == 1


@pytest.mark.parametrize("name", ["linkedin", "facebook", "x"])
def test_absence_from_a_timeline_proves_nothing(make: Callable[[str], Setup], name: str) -> None:
    setup = make(name)
    post = setup.post(picture=False)
    assert setup.client.find(post, "", NOON) is Absence.OPEN
    setup.publish(post)
    assert isinstance(setup.client.find(post, "", NOON), Receipt)
    assert setup.client.find(post, "", NOON + timedelta(seconds=1)) is Absence.OPEN, "older than the attempt"
    assert setup.client.find(setup.post(f"{TEXT}!", picture=False), "", NOON) is Absence.OPEN


@pytest.mark.parametrize(
    "text",
    [
        "Fish & chips <3 > all",
        "look: example.com/a?b=1&c=2 and https://example.org",
        "one\r\n\r\ntwo  \nthree",
        "日本語 😷 test.com",
    ],
)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_text_that_the_provider_writes_in_its_own_way_is_found(
    make: Callable[[str], Setup], name: str, text: str
) -> None:
    setup = make(name)
    post = setup.post(text)
    media = setup.client.prepare(post)
    receipt = setup.client.publish(post, media)
    found = setup.client.find(post, media, NOON)
    assert isinstance(found, Receipt) and receipt.id in f"{found.id} {found.detail}"


@pytest.mark.parametrize(
    ("state", "proves"),
    [("EXPIRED", Absence.PROVEN), ("ERROR", Absence.PROVEN), ("FINISHED", Absence.OPEN), ("IN_PROGRESS", Absence.OPEN),
     ("ODD", Absence.OPEN)],
)  # fmt: skip
def test_what_the_state_of_a_container_proves(make: Callable[[str], Setup], state: str, proves: Absence) -> None:
    setup = make("instagram")
    assert isinstance(setup.server, MetaServer)
    post = setup.post()
    media = setup.client.prepare(post)
    setup.server.states = [state]
    assert setup.client.find(post, media, NOON) is proves


def test_a_published_container_is_proof_even_where_the_post_can_not_be_seen_yet(make: Callable[[str], Setup]) -> None:
    setup = make("instagram")
    assert isinstance(setup.server, MetaServer)
    post = setup.post()
    media = setup.client.prepare(post)
    setup.client.publish(post, media)
    setup.server.hidden = True
    assert setup.client.find(post, media, NOON) == Receipt("instagram", f"container {media}", "published")


@pytest.mark.parametrize("name", PROVIDERS)
def test_where_it_could_not_look_it_says_so(make: Callable[[str], Setup], name: str) -> None:
    setup = make(name)
    post = setup.post()
    media = setup.client.prepare(post)
    setup.client.publish(post, media)
    for kind in ("503 before", "reset before", "expired"):
        setup.server.faults.append(Fault("GET", kind))
        with pytest.raises(AdapterError):
            setup.client.find(post, media, NOON)
    if isinstance(setup.server, LinkedInServer):
        setup.server.may_read = False
        with pytest.raises(AdapterError, match="Not enough permissions"):
            setup.client.find(post, media, NOON)


@pytest.mark.parametrize("name", ["facebook", "x"])
def test_an_image_without_words_is_not_taken_for_another(make: Callable[[str], Setup], name: str) -> None:
    setup = make(name)
    post = setup.post("")
    receipt = setup.publish(post)
    assert receipt.id and setup.client.find(post, "", NOON) is Absence.OPEN
