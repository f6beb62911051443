"""What the search for secrets catches, what it takes for one by mistake, and what it costs.

*list*: our own list alone, as it was before there was a scanner beside it, less what the scanner has now. *scanner*:
both. *everything*: all plug-ins of `detect-secrets` that know a format, guessing ones (entropy, keywords) left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.secret_samples import ordinary, secrets
from utils.adapters.secret_scan import SecretScan
from utils.core import sync_rules

_EVERYTHING = """
import importlib, json, pkgutil, sys
import detect_secrets.plugins as plugins
from detect_secrets.plugins.base import RegexBasedDetector
found = []
for module in pkgutil.iter_modules(plugins.__path__):
    if module.name not in ("high_entropy_strings", "keyword", "ip_public", "base"):
        loaded = importlib.import_module("detect_secrets.plugins." + module.name)
        found += [v() for v in vars(loaded).values() if isinstance(v, type) and issubclass(v, RegexBasedDetector)
                  and v.__module__ == loaded.__name__]
json.dump([any(any(True for _ in p.analyze_string(line)) for line in text.split("\\n") for p in found)
           for text in json.load(sys.stdin)], sys.stdout)
"""
_MEMORY = """
import re, time
def pss():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:")) / 1024
import pathlib, json, utils.vault.atomic, utils.ports
from utils.core import sync_rules
before, begun = pss(), time.perf_counter()
from utils.adapters.secret_scan import SecretScan
SecretScan(pathlib.Path(%r)).find(b"a note")
print(json.dumps([(time.perf_counter() - begun) * 1000, pss() - before]))
"""


def run() -> str:
    """Measure; returns two Markdown tables."""
    with tempfile.TemporaryDirectory(prefix="ai-employee-bench-") as folder:
        begun = time.perf_counter()
        scan = SecretScan(Path(folder))
        scan.find(b"a note")
        first = (time.perf_counter() - begun) * 1000
        done = subprocess.run([sys.executable, "-c", _MEMORY % folder], capture_output=True, text=True, check=True)
        load, memory = json.loads(done.stdout)
        wanted = {name: text.encode() for name, text in secrets().items()}
        fine = dict(ordinary())
        rows = ["| | caught | false alarms | missed | false alarms at |", "|---|---|---|---|---|"]
        for name, find in {
            "list": _own_list,
            "scanner": lambda texts: [scan.find(text) is not None for text in texts],
            "everything": _everything,
        }.items():
            caught, alarms = find(list(wanted.values())), find(list(fine.values()))
            missed = [name for name, hit in zip(wanted, caught, strict=True) if not hit]
            wrong = [name for name, hit in zip(fine, alarms, strict=True) if hit]
            rows.append(
                f"| {name} | {sum(caught)} of {len(wanted)} | {len(wrong)} of {len(fine)} |"
                f" {', '.join(missed) or '–'} | {', '.join(wrong[:12]) or '–'} |"
            )
        notes = [data[:2048] for name, data in fine.items() if name.startswith(("invoice", "mail"))][:100]
        costs = [
            ("rules of a new version, ms (once)", first),
            ("rules of a known version, ms a process", load),
            ("memory, MiB", memory),
            ("100 notes of 2 kB, ms", _time(scan, notes)),
            ("JSONL of 20 MB, ms", _time(scan, [b'{"at":"2026-06-01T10:00:00Z","event":"claimed"}\n' * 400_000])),
            ("base64 in one line, 20 MB, ms", _time(scan, [fine["base64.md"].replace(b"\n", b"") * 10])),
            ("20 MB made to be slow (`//////…`), ms", _time(scan, [b"/" * 20_000_000])),
        ]
    table = ["| cost | |", "|---|---|", *(f"| {name} | {value:.1f} |" for name, value in costs)]
    return "\n".join([*rows, "", *table])


def _own_list(texts: list[bytes]) -> list[bool]:
    return [any(sync_rules.secrets_in(text)) for text in texts]


def _everything(texts: list[bytes]) -> list[bool]:
    done = subprocess.run(
        [sys.executable, "-c", _EVERYTHING],
        input=json.dumps([text.decode("latin-1") for text in texts]),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[bool] = json.loads(done.stdout)
    return found


def _time(scan: SecretScan, texts: list[bytes]) -> float:
    begun = time.perf_counter()
    for text in texts:
        scan.find(text)
    return (time.perf_counter() - begun) * 1000
