"""Make `VAULT_PATH` a vault: folders, templates, a git repository of its own, and the remote of `VAULT_REMOTE_URL`.

The Local node fills an empty remote and joins one that holds a vault; the Cloud node only joins. A vault of an earlier
version gets what it lacks for Obsidian: views and templates. A file that exists is never changed, and running it again
is harmless.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scripts.node import other_remote
from scripts.sync import show_progress
from utils.bootstrap import Services
from utils.settings import InvalidSettings
from utils.vault.skeleton import VaultProblem


def main(argv: Sequence[str] | None = None) -> int:
    """Set the vault up; 0 where it is ready afterwards, 1 with the remedy where it is not, 2 for bad settings."""
    parser = argparse.ArgumentParser(prog="python -m scripts.init_vault", description=__doc__)
    parser.parse_args(argv)
    show_progress()
    try:
        services = Services.from_environment()
    except InvalidSettings as error:
        print(f"init_vault: {len(error.problems)} problem(s):", *error.problems, sep="\n  - ", file=sys.stderr)
        return 2
    services.settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        print(services.sync.prepare(services.settings.vault_remote_url))
        if problem := other_remote(services.settings):
            print(f"Note: {problem}", file=sys.stderr)
    except VaultProblem as error:
        print(f"init_vault: {error}", file=sys.stderr)
        return 1
    finally:
        services.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
