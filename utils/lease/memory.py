"""What a node knows of the lease, in `STATE_DIR/zone.json`: written by whoever holds the lease lock, read by all."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from utils.core.lease import NAME, By, Memory, lease_from_json, rebooted
from utils.vault import atomic

log = logging.getLogger(__name__)
_NONE = type(None)
_KINDS: Mapping[Any, tuple[type, ...]] = {
    "str": (str,), "str | None": (str, _NONE), "int": (int,), "bool": (bool,), "float | None": (float, int, _NONE),
}  # fmt: skip
_ENTRY: Mapping[str, tuple[type, ...]] = {
    "at": (str,), "from": (str, _NONE), "to": (str,), "term": (int,), "reason": (str,), "by": (str,), "pinned": (bool,),
    "ours": (bool,),
}  # fmt: skip
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
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
    values = {f.name: raw[f.name] for f in fields(Memory)} | {
        "known": None if raw["known"] is None else lease_from_json(raw["known"]),
        "switches": tuple(raw["switches"]),
        "history": tuple(raw["history"]),
    }
    kinds = [(values[f.name], _KINDS[f.type]) for f in fields(Memory) if f.type in _KINDS]
    kinds += [(at, (float, int)) for at in values["switches"]]
    kinds += [(entry[name], kinds_of) for entry in values["history"] for name, kinds_of in _ENTRY.items()]
    for value, allowed in kinds:
        if type(value) not in allowed or (type(value) is float and not isfinite(value)):
            raise ValueError(f"{value!r} is not what has to be there")
    for entry in values["history"]:
        By(entry["by"])
    if not all(NAME.fullmatch(values[name]) for name in ("node", "nonce")):
        raise ValueError("it names a node that can't be")
    return Memory(**values)
