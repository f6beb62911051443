"""Server-sent events: a change is told at once, content never; no stream costs a thread or keeps a stop waiting."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pytest

from tests.api_client import Api, add_request, add_task
from tests.servers import free_port
from tests.test_api_server import DEADLINE, Running, ask, environment, eventually, is_up, start
from utils.tasks.versions import TOPICS
from Watchers.api import server, streams
from Watchers.api.streams import Streams


class Listener:
    """An event stream over a real socket, read event by event."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        self._connection.request("GET", "/api/events")
        self.answer = self._connection.getresponse()
        self.versions: dict[str, str] = {}

    def event(self) -> tuple[str, Mapping[str, str]]:
        """`(name, fields)` of the next event; a comment is an event without a name."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream ended"
            if line == "\n":
                break
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
        if "data" in fields:
            self.versions |= json.loads(fields["data"])["versions"]
        return fields.get("event", ""), fields

    def change(self, *topics: str) -> None:
        """Read until each of these topics was told to have changed."""
        before, missing = dict(self.versions), set(topics)
        while missing:
            self.event()
            missing = {topic for topic in topics if self.versions[topic] == before[topic]}

    def close(self) -> None:
        self._connection.close()
        self.answer.close()


@pytest.fixture
def served(make_node) -> Iterator[Running]:
    running = Running(make_node(API_PORT=str(free_port())))
    yield running
    running.stop()


def node_of(running: Running):
    return running.app.extensions["ai-employee"]


def open_streams(running: Running) -> Streams:
    return running.app.extensions["ai-employee-streams"]


def test_hello_has_every_topic_and_a_change_names_what_changed(served):
    node, listener = node_of(served), Listener(served.port)
    assert listener.answer.status == 200
    assert listener.answer.headers.get_content_type() == "text/event-stream"
    name, fields = listener.event()
    assert name == "hello" and fields["retry"] == "3000" and fields["id"]
    hello = json.loads(fields["data"])
    assert set(hello) == {"at", "versions"} and tuple(hello["versions"]) == TOPICS
    now = datetime.now(UTC)
    task = add_task(node, "1", now, subject="nobody's business")
    listener.change("tasks", "claims", "sync")
    assert listener.versions["alerts"] == hello["versions"]["alerts"]
    node.claims.claim(node.layout.find(task)[0])
    listener.change("tasks", "claims")
    add_request(node, task, now)
    listener.change("approvals", "tasks")
    node.alerts.send("WARNING", "A title", "A message", source="test")
    listener.change("alerts")
    node.health.check(now)
    listener.change("health")
    assert ask(served.port, "POST", "/api/zones/switch", b'{"zone": "cloud"}')[0] == 200
    listener.change("zones", "tasks")
    assert ask(served.port, "POST", "/api/stop")[0] == 200
    listener.change("actions")
    listener.close()


def test_each_event_says_no_word_of_what_changed(served):
    node, listener = node_of(served), Listener(served.port)
    listener.event()
    add_task(node, "1", datetime.now(UTC), subject="nobody's business")
    name, fields = listener.event()
    assert name == "change" and set(fields) == {"id", "event", "data"}
    data = json.loads(fields["data"])
    assert set(data) == {"at", "versions"} and set(data["versions"]) < set(TOPICS)
    assert all(len(version) == 16 for version in data["versions"].values())
    listener.close()


def test_a_note_that_an_editor_writes_in_place_is_a_change(served):
    """No file comes or goes, so no folder tells of it."""
    node = node_of(served)
    task = add_task(node, "1", datetime.now(UTC))
    listener = Listener(served.port)
    listener.event()
    with node.layout.find(task)[0].open("a") as file:
        file.write("More.\n")
    listener.change("tasks", "sync")
    listener.close()


def test_far_more_streams_than_threads_leave_everybody_answered_and_one_too_many_is_told_when_to_come_again(served):
    listeners = [Listener(served.port) for _ in range(streams.MOST)]
    assert len(listeners) > server.THREADS
    for listener in listeners:
        assert listener.event()[0] == "hello"
    eventually(lambda: open_streams(served).is_full, "all streams are open")
    for _ in range(2 * server.THREADS):
        assert ask(served.port, "GET", "/api/tasks")[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE)
    connection.request("GET", "/api/events")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert answer.headers.get_content_type() == "application/problem+json"
    assert json.loads(answer.read())["type"].endswith("too-many-streams")
    connection.close()
    threads = {thread.name for thread in threading.enumerate() if thread.name.startswith("event-streams")}
    assert len(threads) == 1, "one looks for all"
    add_task(node_of(served), "1", datetime.now(UTC))
    for listener in listeners:
        listener.change("tasks")
        listener.close()
    eventually(lambda: len(open_streams(served)) == 0, "who has left is forgotten")
    Listener(served.port).close()


def test_who_has_left_is_noticed_without_a_change_and_nobody_looks_for_nobody(served):
    listener = Listener(served.port)
    listener.event()
    eventually(lambda: len(open_streams(served)) == 1, "the stream is open")
    listener.close()
    eventually(lambda: len(open_streams(served)) == 0, "the stream is closed")
    eventually(
        lambda: not any(thread.name == "event-streams" for thread in threading.enumerate()), "nobody looks any more"
    )
    again = Listener(served.port)
    again.event()
    add_task(node_of(served), "1", datetime.now(UTC))
    again.change("tasks")
    again.close()


def test_a_stop_waits_for_no_stream(make_node):
    running = Running(make_node(API_PORT=str(free_port())))
    listener = Listener(running.port)
    listener.event()
    eventually(lambda: len(open_streams(running)) == 1, "the stream is open")
    running.stop()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        listener.answer.read()
    assert not any(thread.name == "event-streams" for thread in threading.enumerate())


def test_the_process_leaves_in_time_with_a_stream_open(tmp_path):
    """Within two seconds, as every process does."""
    port = free_port()
    process = start(environment(tmp_path, port))
    try:
        eventually(lambda: is_up(port) or process.poll() is not None, "the API answers")
        listener = Listener(port)
        listener.event()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0 and "Traceback" not in log
        print(f"left after {time.monotonic() - began:.2f} s")
        listener.close()
    finally:
        process.kill()
        process.communicate()


def test_what_comes_after_a_stream_on_its_connection_is_never_answered(served):
    """An answer in the midst of a stream would be read as an event."""
    request = b"GET /api/%b HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE) as channel:
        channel.sendall(request % (b"events", served.port))
        found = b""
        while b"event: hello" not in found:
            found += channel.recv(65536)
        eventually(lambda: len(open_streams(served)) == 1, "the stream is open")
        channel.sendall(request % (b"health", served.port))
        add_task(node_of(served), "1", datetime.now(UTC))
        found = b""
        while b"event: change" not in found:
            found += channel.recv(65536)
    assert b"HTTP/1.1" not in found


def test_head_and_another_server_get_an_answer_that_ends(make_node):
    """Without a server that holds it open there is a `hello`, and the client comes again after `retry`."""
    node = make_node()
    api = Api(node)
    text = api.ask("GET", "/api/events").get_data(as_text=True)
    assert text.startswith("retry: 3000\nid: ") and text.endswith("\n\n") and "event: hello" in text
    assert api.ask("HEAD", "/api/events").get_data() == b""
    assert len(api.app.extensions["ai-employee-streams"]) == 0


def test_a_stream_needs_the_token_like_everything_else(make_node):
    api = Api(make_node(API_TOKEN="a-token-of-enough-characters"))
    api.refused(401, "GET", "/api/events")
    good = api.ask("GET", "/api/events", headers={"Authorization": "Bearer a-token-of-enough-characters"})
    assert good.status_code == 200


# --- the streams by themselves ---------------------------------------------------------------------------------------


class FakeReader:
    """A reader that a test holds up."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.is_gone = self.is_behind = self.dropped = False

    def write(self, text: str) -> None:
        self.read.append(text)

    def drop(self) -> None:
        self.dropped = True


class World:
    """Versions that a test sets, and the moments in which a look has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 3) -> None:
        self.versions = {"tasks": "1", "alerts": "1"}
        self.woken = lambda: None
        self.looked = threading.Semaphore(0)
        self.monotonic = 1000.0
        monkeypatch.setattr(streams, "_LEAST_REST", 0)
        monkeypatch.setattr(streams, "_SETTLE_SECONDS", 0)
        monkeypatch.setattr(streams.time, "monotonic", lambda: self.monotonic)
        self.gate = threading.Event()
        self.gate.set()
        self.streams = Streams(self.look, self.watch, now=lambda: datetime.now(UTC), most=most)
        self.streams.on_change(self.looked.release)

    def look(self) -> dict[str, str]:
        assert self.gate.wait(DEADLINE)
        return dict(self.versions)

    def watch(self, woken):
        self.woken = woken
        return lambda: None

    def change(self, **versions: str) -> None:
        """Versions change, are looked at, and the server's loop writes."""
        self.versions |= versions
        self.woken()
        self.is_seen()

    def is_seen(self) -> None:
        while self.streams._latest != self.versions:
            assert self.looked.acquire(timeout=DEADLINE)
        self.streams.write_due()

    def later(self, seconds: float) -> None:
        self.monotonic += seconds
        self.streams.write_due()


def told(text: str) -> dict[str, str]:
    return json.loads(text.partition("data: ")[2])["versions"]


@pytest.fixture
def world(monkeypatch):
    world = World(monkeypatch)
    yield world
    world.streams.close()


def test_a_slow_reader_is_told_the_sum_and_a_stuck_one_is_let_go(world):
    quick, slow = FakeReader(), FakeReader()
    assert world.streams.open(quick, dict(world.versions)) and world.streams.open(slow, dict(world.versions))
    slow.is_behind = True
    for number in range(2, 500):
        world.change(tasks=str(number), alerts="1" if number % 2 else "2")
    assert len(quick.read) == 498 and slow.read == [], "nothing is kept for it"
    slow.is_behind = False
    world.later(0)
    assert [told(text) for text in slow.read] == [{"tasks": "499"}], "alerts are as they were"
    slow.is_behind = True
    world.later(30)
    world.later(streams._STUCK_SECONDS - 1)
    assert not slow.dropped
    world.later(2)
    assert slow.dropped and len(world.streams) == 1


def test_a_quiet_stream_says_that_it_lives(world):
    reader = FakeReader()
    world.streams.open(reader, dict(world.versions))
    world.later(14)
    assert reader.read == []
    world.later(2)
    world.later(2)
    assert reader.read == [": \n\n"]
    world.change(tasks="2")
    world.later(14)
    assert len(reader.read) == 2, "a change is a sign of life too"


def test_what_changed_between_hello_and_the_opening_is_told(world):
    first, late = FakeReader(), FakeReader()
    world.streams.open(first, dict(world.versions))
    hello = dict(world.versions)
    world.change(alerts="2")
    world.streams.open(late, hello)
    while not late.read:  # an opening is looked at
        assert world.looked.acquire(timeout=DEADLINE)
        world.streams.write_due()
    assert [told(text) for text in late.read] == [{"alerts": "2"}]
    assert len(first.read) == 1


def test_whose_hello_is_newer_than_the_last_look_is_not_told_what_is_old(world):
    first, new = FakeReader(), FakeReader()
    world.streams.open(first, dict(world.versions))
    world.change(tasks="2")
    world.gate.clear()  # no look ends now
    world.versions["tasks"] = "3"
    world.streams.open(new, dict(world.versions))
    world.streams.write_due()
    assert new.read == []
    world.gate.set()
    world.is_seen()
    assert new.read == [] and [told(text) for text in first.read] == [{"tasks": "2"}, {"tasks": "3"}]


def test_no_more_than_there_may_be_and_none_after_the_end(world):
    for _ in range(3):
        assert world.streams.open(FakeReader(), {})
    assert world.streams.is_full and not world.streams.open(FakeReader(), {})
    world.streams.close()
    assert not Streams.open(world.streams, FakeReader(), {})
