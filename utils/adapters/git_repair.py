"""A repository after a power cut or on a bad disk: what is damaged in `.git`, and putting right what can be.

A power cut leaves files that were renamed before their data was on the disk: they are empty or hold zeros. Git refuses
to work with an empty `HEAD`, ref or index, and takes an empty `config` for one without a remote.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from utils.vault import atomic

_OBJECT = rb"[0-9a-f]{40}(?:[0-9a-f]{24})?"
_HEAD = re.compile(rb"\s*(ref: refs/\S+|" + _OBJECT + rb")\s*")
_REF = re.compile(rb"\s*(ref: refs/\S+|" + _OBJECT + rb")\s*")
_LOG_LINE = re.compile(rb"[0-9a-f]{40,64} ([0-9a-f]{40,64}) [^\n\0]*>[^\n\0]*")
_LITTER = ("objects/pack/tmp_*", "objects/??/tmp_obj_*", "objects/tmp_objdir*/*", "fast_import_crash_*")
_INDEX_SMALLEST = 12 + 20  # bytes; header and checksum (gitformat-index(5))

Run = Callable[..., tuple[int, bytes]]


def mend_names(git_dir: Path, *, branch: str, tracking: str, config_copy: Path) -> list[str]:
    """Put right `config`, `HEAD`, `index`, `packed-refs` and our two refs where they are damaged; what was mended.

    Cheap where all is well: six small files are looked at. `branch` comes back from its reflog; `tracking` and the
    index are made anew by the sync. Raises `OSError`.
    """
    mended = [*_mend_config(git_dir / "config", config_copy)]
    if not _HEAD.fullmatch(_bytes(git_dir / "HEAD")):
        atomic.write(git_dir / "HEAD", f"ref: {branch}\n".encode())
        mended.append("HEAD")
    packed = _bytes(git_dir / "packed-refs")
    if b"\0" in packed:
        lines = [line for line in packed.splitlines(keepends=True) if b"\0" not in line]
        atomic.write(git_dir / "packed-refs", b"".join(lines))
        mended.append("packed-refs")
    for name in (tracking, branch):
        if (git_dir / name).is_file() and not _REF.fullmatch(_bytes(git_dir / name)):
            (git_dir / name).unlink()
            mended.append(name)
    if not (git_dir / branch).is_file() and f" {branch}\n".encode() not in packed:
        commits = past(git_dir, branch)
        if commits:
            atomic.write(git_dir / branch, f"{commits[0]}\n".encode())
            mended += [] if branch in mended else [branch]
    index = git_dir / "index"
    if index.is_file() and not _is_index(index):
        index.unlink()
        mended.append("index")
    return mended


def past(git_dir: Path, ref: str) -> list[str]:
    """Commits that `ref` was at, newest first, each once: the lines of its reflog that are whole."""
    lines = (_LOG_LINE.fullmatch(line.strip(b"\0")) for line in _bytes(git_dir / "logs" / ref).split(b"\n"))
    commits = [match[1].decode() for match in lines if match and match[1].strip(b"0")]
    return list(dict.fromkeys(reversed(commits)))


def set_aside(git_dir: Path, folder: Path, *, run: Run) -> list[str]:
    """Move damaged refs, objects, packs and the index into `folder`, and rescue what is readable in a damaged pack.

    Reads every object of the repository. `run(arguments, stdin)` runs a git command and answers code and output.
    """
    moved = [path for path in sorted((git_dir / "refs").rglob("*")) if path.is_file() and not _is_ref(path)]
    moved += [path for path in sorted((git_dir / "objects").glob("??/*")) if not _is_object(path)]
    packs = sorted((git_dir / "objects" / "pack").glob("*.pack"))
    indexes = (git_dir / "objects" / "pack").glob("*.idx")
    moved += [index for index in indexes if not index.with_suffix(".pack").exists()]
    code, _ = run(["ls-files", "--error-unmatch", "-s", "--", ":"])
    moved += [git_dir / "index"] if code == 128 and (git_dir / "index").exists() else []
    moved += [path for name in ("commit-graph", "commit-graphs") if (path := git_dir / "objects/info" / name).exists()]
    for path in moved:
        _move(path, git_dir, folder)
    for pack in packs:
        moved += _mend_pack(pack, git_dir, folder, run)
    return [path.relative_to(git_dir).as_posix() for path in moved]


def empty(git_dir: Path, kept: Path) -> None:
    """Copy the repository to `kept`, then remove all of it but its settings and what is not git's. Raises `OSError`.

    The copy is complete before anything is removed; killed in between, it can be done again.
    """
    partial = kept.with_name(f"{kept.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(git_dir, partial, symlinks=True)
    partial.rename(kept)
    for name in ("HEAD", "index", "packed-refs", "shallow", "ORIG_HEAD", "FETCH_HEAD", "MERGE_HEAD"):
        (git_dir / name).unlink(missing_ok=True)
    for name in ("objects", "refs", "logs", "rebase-merge", "rebase-apply", "sequencer"):
        if (git_dir / name).is_dir():
            shutil.rmtree(git_dir / name)


def sweep(git_dir: Path, *, older_than: float) -> int:
    """Remove what killed git commands left behind, if written before `older_than` (a POSIX time). Answers how many."""
    removed = 0
    for path in [path for pattern in _LITTER for path in git_dir.glob(pattern)]:
        if path.is_file() and path.lstat().st_mtime < older_than:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _mend_config(config: Path, copy: Path) -> list[str]:
    """An empty config would make the vault one without a remote: the copy of the last good one takes its place."""
    content = _bytes(config)
    if b"[core]" in content and b"\0" not in content:
        if _bytes(copy) != content:
            atomic.write(copy, content, mode=0o600)
        return []
    kept = _bytes(copy)
    if not kept:
        return []
    atomic.write(config, kept)
    return ["config"]


def _mend_pack(pack: Path, git_dir: Path, folder: Path, run: Run) -> list[Path]:
    """Make a missing or damaged index of a good pack anew; take a damaged pack apart. What was moved."""
    index = pack.with_suffix(".idx")
    if index.exists() and run(["verify-pack", str(index)])[0] == 0:
        return []
    siblings = [path for path in pack.parent.glob(f"{pack.stem}.*") if path != pack]
    for path in siblings:
        _move(path, git_dir, folder)
    if run(["index-pack", str(pack)])[0] == 0:
        return siblings
    target = _move(pack, git_dir, folder)
    with target.open("rb") as file:
        run(["unpack-objects", "-r", "-q"], stdin=file.read())
    return [*siblings, pack]


def _move(path: Path, git_dir: Path, folder: Path) -> Path:
    target = folder / path.relative_to(git_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    return target


def _is_object(path: Path) -> bool:
    """Whether a loose object holds what its name says. Names that git does not make are left alone."""
    name = path.parent.name + path.name
    if not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", name):
        return True
    algorithm = hashlib.sha256 if len(name) == 64 else hashlib.sha1
    try:
        return algorithm(zlib.decompress(path.read_bytes()), usedforsecurity=False).hexdigest() == name
    except zlib.error:
        return False


def _is_ref(path: Path) -> bool:
    return path.suffix == ".lock" or bool(_REF.fullmatch(_bytes(path)))


def _is_index(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"DIRC" and path.stat().st_size >= _INDEX_SMALLEST


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""
