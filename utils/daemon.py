"""How a process of ours runs: options, logging, signals, systemd, and the loop around `run_cycle`.

A process is a `Worker`: it is built from the services, told to run one cycle at a time, and asked to close. The loop
owns everything else. Handlers of signals set a flag; the loop sees it and leaves. A child ends by itself when its
orchestrator is gone, however that happened: it reads from a pipe that only the orchestrator holds open.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import FrameType

from utils.adapters.processes import SUPERVISOR_FD
from utils.adapters.watch import watch
from utils.bootstrap import Services
from utils.settings import InvalidSettings, Settings, load
from utils.vault.skeleton import VaultProblem

log = logging.getLogger("daemon")

EXIT_USAGE = 2
_FAILURES_BEFORE_ALERT = 3
_LONGEST_BACKOFF = 300.0  # seconds
_ORPHAN_GRACE = 30.0


class CannotStart(RuntimeError):
    """A process can't do its work here at all; the message says why and what to do. Raised by `Worker.start`."""


class Stop:
    """Set once, by a signal or because the orchestrator is gone; wakes whoever waits.

    A pipe, not a `threading.Event`: an event's lock may be held by the very code that a signal handler interrupts.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Ask the process to leave."""
        self._stopped = True
        self.wake()

    def wake(self) -> None:
        """End a wait early, without stopping."""
        with contextlib.suppress(BlockingIOError):  # a full pipe: whoever waits is awake already
            os.write(self._writer, b"w")

    def __call__(self) -> bool:
        """Whether the process should leave."""
        return self._stopped

    def wait(self, seconds: float) -> None:
        """Wait until `seconds` have passed, something woke us, or we should leave."""
        if self._stopped:
            return
        select.select([self._reader], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass


class Worker:
    """What a process does. Subclasses fill in `run_cycle`; everything else has a default."""

    name = "worker"
    description = ""
    interval = 30.0  # seconds between cycles where nothing wakes us

    def __init__(self, services: Services) -> None:
        self.services = services

    def folders(self) -> list[Path]:
        """Folders (with all below) whose changes wake a cycle."""
        return []

    def start(self, stop: Stop) -> None:
        """Called once before the first cycle of a running process; not by `--once`. May raise `CannotStart`."""

    def run_cycle(self, now: datetime) -> str:
        """Do what is to be done now; the answer says what that was ("claimed 2, drafted 2")."""
        raise TypeError(f"{type(self).__name__} does not say what its cycle is")

    def wait(self, seconds: float, stop: Stop) -> None:
        """Wait for the next cycle."""
        stop.wait(seconds)

    def close(self) -> None:
        """Let go of everything; called once, also after an error."""


def run(worker_class: type[Worker], argv: Sequence[str] | None = None) -> int:
    """The whole life of a process; returns its exit code."""
    options = parse_options(worker_class.name, worker_class.description, argv)
    services = prepare(worker_class.name, check_only=options.check)
    if services is None:
        return EXIT_USAGE
    if options.check:
        print(f"{worker_class.name}: settings are fine")
        return 0
    stop = Stop()
    install_signals(stop)
    worker = worker_class(services)
    try:
        if options.once:
            print(worker.run_cycle(services.clock.now()))
        else:
            _loop(worker, services, stop)
        return 0
    except CannotStart as error:
        print(f"{worker.name}: {error}", file=sys.stderr)
        return 1
    except Exception:
        log.exception("%s: ended by an error", worker.name)
        return 1
    finally:
        worker.close()
        services.close()


def parse_options(name: str, description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options that every process takes."""
    parser = argparse.ArgumentParser(prog=f"python -m Watchers.{name}", description=description)
    parser.add_argument("--once", action="store_true", help="run one cycle, print what it did, and exit")
    parser.add_argument("--check", action="store_true", help="validate the settings and exit")
    return parser.parse_args(argv)


def prepare(name: str, *, check_only: bool = False) -> Services | None:
    """Settings, logging and a usable vault; None, with everything that is wrong printed, where that can't be had."""
    try:
        settings = load()
    except InvalidSettings as error:
        tell_problems(name, error.problems)
        return None
    set_up_logging(settings)
    services = Services(settings)
    if not check_only:
        try:
            services.ensure_ready()
        except VaultProblem as error:
            print(f"{name}: {error}", file=sys.stderr)
            return None
    return services


def tell_problems(name: str, problems: Sequence[str]) -> None:
    """Print what is wrong with the settings on standard error."""
    print(f"{name}: {len(problems)} problem(s) in the settings:", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Print inside, and flush: whoever reads may have read enough, as `head` does."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def set_up_logging(settings: Settings) -> None:
    """Log to standard error, one line an event, with every secret of the settings masked."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in ("apscheduler", "git", "watchdog", "urllib3", "mcp", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def install_signals(stop: Stop) -> None:
    """SIGTERM, SIGINT and the end of our orchestrator ask the process to leave."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    descriptor = os.environ.pop(SUPERVISOR_FD, None)  # the name would mean nothing to a child of ours
    if descriptor is not None:
        os.set_inheritable(int(descriptor), False)
        threading.Thread(target=_follow_supervisor, args=(int(descriptor), stop), daemon=True).start()


def notify_systemd(message: str) -> None:
    """Tell systemd something (sd_notify(3)); nothing happens where it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("systemd does not listen on NOTIFY_SOCKET: %s", error)


def longest_wait() -> float:
    """How long the loop may wait between two cycles, in seconds: where systemd watches, half of what it allows
    (sd_watchdog_enabled(3)), else it would end a process that only waits."""
    try:
        allowed = int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return _LONGEST_BACKOFF
    return min(_LONGEST_BACKOFF, allowed) if allowed > 0 else _LONGEST_BACKOFF


def _follow_supervisor(descriptor: int, stop: Stop) -> None:
    while os.read(descriptor, 1):
        pass
    log.warning("the orchestrator is gone: leaving")
    stop.set()
    threading.Event().wait(_ORPHAN_GRACE)  # a process that left in the meantime ends this thread with it
    log.error("still busy %.0f s after the orchestrator is gone: leaving now", _ORPHAN_GRACE)
    os._exit(1)


def _loop(worker: Worker, services: Services, stop: Stop) -> None:
    worker.start(stop)
    observer = watch(folders, lambda path: stop.wake()) if (folders := worker.folders()) else None
    failures = 0
    last_answer = ""
    try:
        notify_systemd("READY=1")
        log.info("%s started (%s, %s)", worker.name, services.settings.agent_name, services.settings.agent_mode)
        while not stop():
            pause = worker.interval
            try:
                answer = worker.run_cycle(services.clock.now())
                failures = 0
                log.log(logging.DEBUG if answer == last_answer else logging.INFO, "%s: %s", worker.name, answer)
                last_answer = answer
            except Exception as error:
                failures += 1
                pause = min(worker.interval * 2**failures, max(worker.interval, _LONGEST_BACKOFF))
                log.exception("%s: a cycle failed (%d in a row); next try in %.0f s", worker.name, failures, pause)
                if failures == _FAILURES_BEFORE_ALERT:
                    title = f"{worker.name} fails again and again"
                    services.alerts.send("CRITICAL", title, f"{type(error).__name__}: {error}", source=worker.name)
            notify_systemd("WATCHDOG=1")
            worker.wait(min(pause, longest_wait()), stop)
    finally:
        notify_systemd("STOPPING=1")
        if observer is not None:
            observer.stop()
            observer.join(2)
        log.info("%s stopped", worker.name)


class _Redacting(logging.Formatter):
    """Formats a record and masks the values of secret settings in it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        values = (getattr(settings, f.name) for f in fields(Settings) if f.metadata.get("secret"))
        self._secrets = [value for value in values if isinstance(value, str) and len(value) >= 4]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
