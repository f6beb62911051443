"""A node's sync, as `utils.bootstrap` wires it, without the rest of the node."""

from __future__ import annotations

from pathlib import Path

from utils.adapters.clock import SystemClock
from utils.adapters.git import GitVault
from utils.adapters.git_glance import GitGlance
from utils.adapters.secret_scan import SecretScan
from utils.sync.values import IDENTITIES
from utils.vault.layout import Layout
from utils.vault_sync import SyncConfig, VaultSync


def vault_sync(zone: str, root: Path, state: Path) -> VaultSync:
    """The sync of the vault at `root` with its remote `origin`; nobody is alerted, and no human moves anything."""
    identity = IDENTITIES[zone]
    return VaultSync(
        Layout(root),
        SyncConfig(zone, settle_seconds=0),
        GitVault(root, remote="origin", branch="main", identity=identity, timeout=600, scratch=state / "tmp"),
        GitGlance(root, remote="origin", branch="main"),
        state_dir=state,
        clock=SystemClock(),
        alert=lambda *_, **__: None,
        observe_moves=lambda: None,
        secrets=SecretScan(state),
    )
