"""What a node knows of the lease, in `STATE_DIR/zone.json`: written by whoever holds the lease lock, read by all."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from utils.core.lease import By, Lease, Memory, rebooted
from utils.vault import atomic

log = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What tells this boot of the machine from all others; empty where the system has no such thing."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class MemoryFile:
    """The memory of one node. Times in it hold for one boot; read in another they count from now."""

    def __init__(self, path: Path, monotonic: Callable[[], float], boot: Callable[[], str] = boot_id) -> None:
        self._path = path
        self._monotonic = monotonic
        self._boot = boot

    def load(self) -> Memory:
        """The memory as it holds now; a file that is missing or damaged is a node that knows nothing yet."""
        try:
            raw = json.loads(self._path.read_bytes())
            memory, boot = _from_json(raw["memory"]), raw["boot"]
        except FileNotFoundError:
            return Memory()
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s is damaged (%s): this node knows nothing of the zones until it has asked the remote",
                      self._path, error)  # fmt: skip
            return Memory()
        now = self._monotonic()
        latest = max((at for at in (memory.last_seen, memory.renewed, memory.term_seen) if at is not None), default=now)
        return rebooted(memory, now) if boot != self._boot() or latest > now else memory

    def save(self, memory: Memory) -> Memory:
        """Write it durably and return it; a node that has no name yet gets one."""
        if not memory.node:
            memory = replace(memory, node=secrets.token_hex(8))
        if not memory.nonce:
            memory = replace(memory, nonce=secrets.token_hex(8))
        raw = {"boot": self._boot(), "memory": asdict(memory)}
        atomic.write(self._path, json.dumps(raw, indent=1).encode(), mode=0o600)
        return memory


def _from_json(raw: dict[str, Any]) -> Memory:
    """Inverse of `asdict`; raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    raw = {"finish": None} | raw  # an earlier version has none
    known = raw["known"]
    values = {f.name: raw[f.name] for f in fields(Memory)} | {
        "known": Lease(**(known | {"by": By(known["by"])})) if known else None,
        "switches": tuple(float(at) for at in raw["switches"]),
        "history": tuple(dict(entry) for entry in raw["history"]),
    }
    return Memory(**values)
