"""Keeps this node's side of the zone lease: each cycle looks at the remote, decides, and carries the decision out.

What was learned is durable before anything follows from it: work is laid down before the remote hears of it, and begins
only after the remote has answered. So a crash anywhere leaves a node that is passive until it has asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from utils.core import lease as rules
from utils.core.lease import Here, Lease, Memory, Push, Rest, State
from utils.core.task import format_time
from utils.core.zones import Failover
from utils.ports import AdapterError, Clock, LeaseRemote

log = logging.getLogger(__name__)
_TRIES = 4


class NotSwitched(RuntimeError):
    """A human's switch could not be carried out; nothing changed. The text says why and what to do."""


class StaleTerm(RuntimeError):
    """Somebody switched meanwhile: `term` is the present one, not the one that the caller expected."""

    def __init__(self, expected: int, term: int) -> None:
        super().__init__(f"the zones have been switched meanwhile: the term is {term}, not {expected}")
        self.term = term


class Store(Protocol):
    """Where the memory is kept (`utils.lease.memory.MemoryFile`)."""

    def load(self) -> Memory: ...

    def save(self, memory: Memory) -> Memory: ...


class Keeper:
    """One node's keeper. Its caller lets one of the node's processes in at a time.

    `lay_down()` waits a while for the work in hand to end and says whether it did. `tell(entry)` is given each
    beginning of a term that this node wrote, as it stands in the history; after a crash it may be given one twice.
    """

    def __init__(
        self,
        remote: LeaseRemote,
        store: Store,
        *,
        zone: str,
        preferred: str,
        failover: Failover,
        clock: Clock,
        lay_down: Callable[[], bool],
        tell: Callable[[Mapping[str, Any]], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._remote = remote
        self._store = store
        self._zone = zone
        self._preferred = preferred
        self._rules = failover
        self._clock = clock
        self._lay_down = lay_down
        self._tell = tell
        self._warn = warn

    def start(self) -> None:
        """After a start of the node: passive until the remote has been asked."""
        self._store.save(replace(rules.laid_down(self._store.load()), nonce=""))

    def renew(self) -> str:
        """Renew the lease where this node has it, else look how it stands; says what was seen or done."""
        memory, here = self._named(), self._here()
        if self._state(memory, here) is State.ACTIVE and not memory.astray:
            step = rules.decide(memory, here, self._clock.monotonic(), self._rules)
            if isinstance(step, Rest):
                return step.why
            done = self._carry_out(memory, here, step)
            if done is not None:
                return done
        try:
            self._remote.beat()
        except AdapterError as error:
            return f"{self._state(memory, here)}: the remote was not asked: {error}"
        return self._cycle(here)

    def check(self, failures: int, successes: int) -> str:
        """Look, and where the rules say so, take the lease or give it back: with what the checks of the other zone saw,
        counted in a row."""
        return self._cycle(self._here(failures, successes))

    def switch(self, zone: str, reason: str, *, pin: bool, expected_term: int | None) -> tuple[Memory, str]:
        """A human makes `zone` active: `(the memory after it, the zone that was active)`.

        Raises `StaleTerm`, or `NotSwitched` where the remote can't be asked or does not take it.
        """
        here = self._here()
        for _ in range(_TRIES):
            try:
                memory = self._look(here)
            except AdapterError as error:
                raise NotSwitched(f"the zones were not switched: {error}") from None
            if expected_term is not None and expected_term != memory.term:
                raise StaleTerm(expected_term, memory.term)
            before = memory.known.holder if memory.known else zone
            push = rules.switch(memory, here, zone, reason, self._clock.monotonic(), self._rules, pin=pin)
            if rules.stands_already(memory, push):
                return memory, before
            try:
                if self._push(memory, here, push):
                    return self._store.load(), before
            except AdapterError as error:
                raise NotSwitched(
                    f"the remote did not say whether it took the switch ({error}): look at the zones' status in a"
                    " minute, and switch again if nothing has changed"
                ) from None
        raise NotSwitched("the zones were not switched: the lease changed each time we looked; try again")

    # ------------------------------------------------------------------------------------------------------------------

    def _here(self, failures: int = 0, successes: int = 0) -> Here:
        return Here(self._zone, self._preferred, failures, successes)

    def _state(self, memory: Memory, here: Here) -> State:
        return rules.state(memory, here, self._clock.monotonic())

    def _at(self) -> str:
        return format_time(self._clock.now().replace(microsecond=0))

    def _named(self) -> Memory:
        memory = self._store.load()
        return memory if memory.node and memory.nonce else self._store.save(memory)

    def _cycle(self, here: Here) -> str:
        try:
            memory = self._look(here)
        except AdapterError as error:
            state = self._state(self._store.load(), here)
            return f"{state}: the remote was not asked: {error}"
        step = rules.decide(memory, here, self._clock.monotonic(), self._rules)
        if isinstance(step, Rest):
            if step.freeze and not memory.frozen:
                self._store.save(replace(memory, frozen=True))
                self._warn("The zones are frozen", f"{step.why}: switch by hand (POST /api/zones/switch).")
            return step.why
        return self._carry_out(memory, here, step) or "the lease changed meanwhile: looked at again at the next turn"

    def _look(self, here: Here) -> Memory:
        """The memory after one look, durable; whatever we began and nobody was told of yet is told."""
        memory = self._named()
        sight = self._remote.look()
        after = rules.observed(memory, sight, here, self._clock.monotonic(), self._rules, self._at())
        if after.astray and after.astray != memory.astray:
            self._warn("The zones' lease is not what it was", f"{after.astray}. If you did not do this, look who did.")
        if rules.met_twin(memory, after, here):
            after = rules.renamed(after)
            self._warn(
                f"Another machine works as this {self._zone} node",
                "It renews the zone lease in this node's name: one has a copy of the other's STATE_DIR, or an older"
                " state of this node or of the remote was put back. This node takes a new name, and does no work of"
                " the active zone while the other one does. If there are two machines, stop one of them. A copy that"
                " is to run by itself needs an empty STATE_DIR before its first start.",
            )
        elif after.sha != memory.sha and after.known is not None and after.known.nonce == memory.nonce:
            after = replace(after, nonce="")  # not answered, or a twin's: with a new nonce each knows the other
        return self._told(self._store.save(after))

    def _carry_out(self, memory: Memory, here: Here, push: Push) -> str | None:
        """What was done, in words; None where somebody else changed the lease first."""
        try:
            lease = self._push(memory, here, push)
        except AdapterError as error:
            return f"{self._state(self._store.load(), here)}: the remote did not answer: {error}"
        except _StillWorking:
            return f"{here.zone} finishes the work in hand, then {push.lease.holder} begins"
        return _done(lease, memory, here) if lease else None

    def _push(self, memory: Memory, here: Here, push: Push) -> Lease | None:
        """The lease that the remote took, None where it took none; raises `AdapterError` where that is unknown."""
        if push.lay_down:
            memory = self._store.save(rules.laid_down(memory))
            if not self._lay_down():
                if push.lease.term == memory.term:  # the other zone waits for it already
                    raise _StillWorking
                push = rules.unfinished(push, memory, here)
        if push.lease.term != memory.term:
            push = replace(push, lease=replace(push.lease, at=self._at()))
        before = self._clock.monotonic()
        try:
            sha = self._remote.push(push.lease.to_text(), push.expected)
        except AdapterError:
            # It may yet land: with a new nonce the value that it would replace never comes again.
            self._store.save(replace(self._store.load(), nonce=""))
            raise
        if sha is None:
            return None
        now = self._clock.monotonic()
        after = rules.pushed(memory, push, sha, here, before, now, self._rules, self._at())
        self._told(self._store.save(after))
        return push.lease

    def _told(self, memory: Memory) -> Memory:
        news = [entry for entry in memory.history if entry["term"] > memory.told]
        for entry in news:
            log.info("zones: %s is active (term %d): %s", entry["to"], entry["term"], entry["reason"])
            if entry["ours"]:
                self._tell(entry)
        if news and (limit := rules.limit_words(memory, self._clock.monotonic(), self._rules)) and news[-1]["ours"]:
            self._warn("The zones change no more by themselves", f"{_sentence(limit)}. Find out why they did.")
        return self._store.save(replace(memory, told=memory.term)) if news else memory


class _StillWorking(Exception):
    """The work in hand has not ended: whoever waits for it goes on waiting."""


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _done(lease: Lease, memory: Memory, here: Here) -> str:
    if lease.leaving == here.zone:
        return f"{here.zone} finishes the work in hand, then {lease.holder} begins, term {lease.term}: {lease.reason}"
    if lease.term != memory.term:
        return f"{lease.holder} is active now, term {lease.term}: {lease.reason}"
    if lease.holder != here.zone:
        return f"{here.zone} has laid down its work, {lease.holder} is active, term {lease.term}"
    return f"{lease.holder} is active, term {lease.term}"
