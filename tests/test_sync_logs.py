"""A log that agents append to while sync puts the united one in its place: every line stays."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

from utils.vault import jsonl, worktree


def test_no_line_goes_into_a_file_that_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    jsonl.append(path, {"n": -1})
    stop = threading.Event()
    swaps = 0

    def replace_again_and_again() -> None:
        nonlocal swaps
        while not stop.is_set():
            data = worktree.read(tmp_path, "log.jsonl")
            if data is not None:
                longer = data + b'{"swap":%d}\n' % swaps
                old, new = worktree.blob_id(data, ""), worktree.blob_id(longer, "")
                swaps += worktree.replace(tmp_path, "log.jsonl", expected=old, wanted=new, data=longer)

    def append_all(writer: int) -> None:
        for n in range(150):
            jsonl.append(path, {"writer": writer, "n": n})

    swapper = threading.Thread(target=replace_again_and_again)
    swapper.start()
    writers = [threading.Thread(target=append_all, args=(number,)) for number in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    swapper.join()
    entries = jsonl.tail(path, 10_000)
    for number in range(3):
        assert [e["n"] for e in entries if e.get("writer") == number] == list(range(150))
    assert [e["swap"] for e in entries if "swap" in e] == list(range(swaps)) and swaps


def test_a_log_is_not_replaced_while_somebody_writes_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    jsonl.append(path, {"n": 1})
    before = path.read_bytes()
    longer = before + b'{"n":2}\n'
    old, new = worktree.blob_id(before, ""), worktree.blob_id(longer, "")
    done: list[bool] = []
    with path.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        replacing = threading.Thread(
            target=lambda: done.append(worktree.replace(tmp_path, "log.jsonl", expected=old, wanted=new, data=longer))
        )
        replacing.start()
        replacing.join(0.5)  # long enough for one that does not wait
        writer.write(b'{"n":3}\n')
    replacing.join()
    assert done == [False] and path.read_bytes() == before + b'{"n":3}\n'
