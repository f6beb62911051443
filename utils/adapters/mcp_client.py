"""The MCP client: calls tools of MCP servers that run as child processes over stdio.

The official SDK costs about 45 MB of memory, for as long as the process lives that imports it. So it lives in a child
of its own, the bridge (this module run by `python -m`): it is started at the first call, keeps the servers it has
started, and goes away with them when nobody needs them. Bridge and servers end when their standard input does, however
their parent died; a server that is just acting finishes first.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.ports import AdapterError, Clock, OutcomeUnknown

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

#: Above the longest that a mail server may take to answer (RFC 5321 §4.5.3.2).
CALL_SECONDS = 900.0
START_SECONDS = 60.0
_LOOK_SECONDS = 0.2


class McpTools:
    """Calls tools by server name. One call at a time; thread-safe."""

    def __init__(
        self,
        servers: Mapping[str, Sequence[str]],
        *,
        cwd: Path,
        idle_seconds: float,
        clock: Clock,
        env: Mapping[str, str] | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """`servers` are command lines; `env` replaces this process's environment for them."""
        self._servers = {name: list(command) for name, command in servers.items()}
        self._cwd = cwd
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._env = dict(env) if env is not None else None
        self._call_seconds = call_seconds
        self._lock = threading.Lock()
        self._bridge: subprocess.Popen[bytes] | None = None
        self._used_at = 0.0
        #: Asked while waiting for an answer; true means to give up waiting (the action goes on in its server).
        self.stopped: Callable[[], bool] = lambda: False

    def call(self, server: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tool's structured answer.

        Raises `AdapterError` where the server can't be started (retry) or the tool answered an error, `OutcomeUnknown`
        where the call was made and no answer came. Whether anything happened is for the journal to say, not for this.
        """
        if server not in self._servers:
            raise AdapterError(f"there is no MCP server {server!r}", retry=False)
        question = {"command": self._servers[server], "tool": tool, "arguments": dict(arguments)}
        with self._lock:
            bridge = self._running()
            try:
                answer = self._ask(bridge, question)
            except BaseException:
                self._abandon()
                raise
            finally:
                self._used_at = self._clock.monotonic()
        kind, text = answer.get("kind"), str(answer.get("text", ""))
        if kind == "answer":
            return answer.get("content") or {}
        if kind == "refused":
            raise AdapterError(text, retry=False)
        if kind == "not started":
            raise AdapterError(f"the {server} MCP server did not start: {text}", retry=True)
        raise OutcomeUnknown(f"the {server} MCP server gave no answer: {text}")

    def close_idle(self) -> None:
        """Stop bridge and servers if they were not used for `idle_seconds`."""
        with self._lock:
            if self._bridge is not None and self._clock.monotonic() - self._used_at >= self._idle_seconds:
                log.info("MCP servers were idle: stopped")
                self._close()

    def close(self) -> None:
        """Stop bridge and servers; a server that is just acting finishes first, on its own."""
        with self._lock:
            self._close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._bridge is not None and self._bridge.poll() is None:
            return self._bridge
        self._abandon()
        try:
            self._bridge = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._cwd,
                env=self._env,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise AdapterError(f"the MCP client could not be started: {error}", retry=True) from error
        return self._bridge

    def _ask(self, bridge: subprocess.Popen[bytes], question: Mapping[str, Any]) -> dict[str, Any]:
        if bridge.stdin is None or bridge.stdout is None:
            raise AdapterError("the MCP client has no pipes", retry=True)
        deadline = self._clock.monotonic() + self._call_seconds
        try:
            bridge.stdin.write(json.dumps(question).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                if self.stopped():
                    raise OutcomeUnknown("stopped while the call was under way")
                if self._clock.monotonic() >= deadline:
                    raise OutcomeUnknown(f"no answer within {self._call_seconds:.0f} s")
                if not select.select([bridge.stdout], [], [], _LOOK_SECONDS)[0]:
                    continue
                chunk = os.read(bridge.stdout.fileno(), 65536)
                if not chunk:
                    raise OutcomeUnknown("the MCP client died in the middle of the call")
                line += chunk
            answer: dict[str, Any] = json.loads(line)
            return answer
        except (OSError, ValueError) as error:
            raise OutcomeUnknown(f"the MCP client died in the middle of the call: {error}") from error

    def _abandon(self) -> None:
        """Kill the bridge. Its servers see the end of their standard input and leave when they are done."""
        if self._bridge is not None:
            self._bridge.kill()
            self._close()

    def _close(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is None:
            return
        if bridge.stdin is not None:
            bridge.stdin.close()
        try:
            bridge.wait(5)
        except subprocess.TimeoutExpired:
            bridge.kill()
            bridge.wait()
        if bridge.stdout is not None:
            bridge.stdout.close()


class _Bridge:
    """The child's side: holds one SDK client for each server command. Needs the SDK, so only the child builds one."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, ...], Any] = {}
        self._hosts: set[asyncio.Task[None]] = set()

    async def respond(self, line: bytes) -> None:
        """Answer one question line with one line on standard output."""
        question = json.loads(line)
        try:
            answer = await self._answer(tuple(question["command"]), question["tool"], question["arguments"])
        except Exception as error:
            answer = {"kind": "no answer", "text": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    async def _answer(self, command: tuple[str, ...], tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            client = self._clients.get(command) or await self._start(command)
        except Exception as error:
            return {"kind": "not started", "text": await asyncio.to_thread(_why_not, command) or _root_cause(error)}
        try:
            result = await client.call_tool(tool, arguments)
        except Exception:
            self._clients.pop(command, None)  # whatever it was, the next call gets a fresh server
            raise
        if result.is_error:
            text = " ".join(part.text for part in result.content if part.type == "text")
            return {"kind": "refused", "text": text.removeprefix(f"Error executing tool {tool}: ")}
        return {"kind": "answer", "content": result.structured_content}

    async def _start(self, command: tuple[str, ...]) -> Any:
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        host = asyncio.create_task(self._host(command, ready))
        self._hosts.add(host)
        host.add_done_callback(self._hosts.discard)
        self._clients[command] = await asyncio.wait_for(ready, START_SECONDS)
        return self._clients[command]

    async def _host(self, command: tuple[str, ...], ready: asyncio.Future[Any]) -> None:
        """Hold a client open for ever: the SDK wants it closed by the task that opened it."""
        from mcp.client.client import Client
        from mcp.client.stdio import StdioServerParameters

        server = StdioServerParameters(command=command[0], args=list(command[1:]), env=dict(os.environ))
        try:
            async with Client(server) as client:
                ready.set_result(client)
                await asyncio.Event().wait()
        except Exception as error:
            if not ready.done():
                ready.set_exception(error)


def _why_not(command: Sequence[str]) -> str:
    """What a server that did not start says about its settings: what it wrote while it started went to our log."""
    try:
        check = [*command, "--check"]
        done = subprocess.run(check, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join(done.stderr.split())[-2_000:] if done.returncode else ""


def _root_cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _serve() -> None:
    """The bridge: JSON questions, one a line, on standard input; JSON answers on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    bridge = _Bridge()
    loop = asyncio.new_event_loop()

    def listen() -> None:
        for line in sys.stdin.buffer:
            asyncio.run_coroutine_threadsafe(bridge.respond(line), loop)
        # Leave without the SDK's farewell, which kills a server that is still acting.
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    loop.run_forever()


if __name__ == "__main__":
    import asyncio

    _serve()
