"""An approval that is given on a draft-only node: passed on to Local, which alone makes a record of it (S5, S7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.core import remote_approval
from utils.core.remote_approval import BadStatement
from Watchers.api.errors import Problem
from Watchers.api.operation import services

_SIGNED = "Local executes it after its next sync, if it knows the key."
_UNSIGNED = "Nobody signed it, so Local asks for a confirmation after its next sync."


def passed_on(request_id: str, sha256: str, approval: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write the approval into the vault, where the next sync takes it to Local. `approval`: as it was signed."""
    node = services()
    try:
        signed = remote_approval.from_values(approval) if approval is not None else None
    except BadStatement as error:
        raise Problem(400, f"approval: {error} (docs/approvals-signing.md).", kind="invalid-input") from None
    path = node.remote_approvals.give(request_id, sha256, signed)
    given = remote_approval.read(path.read_bytes())
    return {
        "id": request_id,
        "action": given.action,
        "sha256": sha256,
        "state": "approved_remotely",
        "signed": bool(given.signature),
        "until": given.expires,
        "path": node.layout.relative(path),
        "detail": _SIGNED if given.signature else _UNSIGNED,
    }
