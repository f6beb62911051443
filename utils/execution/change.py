"""What a human changed of a draft before approving it, kept for whoever learns to write as they do. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from utils.core.task import ApprovalRequest
from utils.execution import requests


@dataclass(frozen=True)
class Change:
    """`draft` is `(before, after)`, or None where the text stayed; `fields` has those that changed, likewise."""

    draft: tuple[str, str] | None = None
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.draft is not None or bool(self.fields)

    def diff(self) -> str:
        """The draft's difference as a unified diff of lines; "" where it stayed."""
        if self.draft is None:
            return ""
        before, after = (text.splitlines() for text in self.draft)
        return "\n".join(difflib.unified_diff(before, after, "drafted", "approved", lineterm=""))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: `draft` and each of `fields` as `{before, after}`, and `diff`."""
        return {
            "draft": _pair(self.draft) if self.draft else None,
            "fields": {name: _pair(pair) for name, pair in self.fields.items()},
            "diff": self.diff(),
        }


def between(versions: Iterable[bytes], approved: ApprovalRequest) -> Change:
    """The change from the first of `versions` (oldest first) that can be read to what was approved."""
    for data in versions:
        before, _ = requests.parse(data, approved.id)
        if before is not None:
            return _change(before, approved)
    return Change()


def _change(before: ApprovalRequest, after: ApprovalRequest) -> Change:
    names = dict.fromkeys([*before.fields, *after.fields])
    pairs = {name: (before.fields.get(name), after.fields.get(name)) for name in names}
    # What was read from YAML compares equal to what an edit by API put there, and is plain JSON when it is kept.
    fields = {name: json.loads(json.dumps(pair, default=str)) for name, pair in pairs.items() if pair[0] != pair[1]}
    return Change(
        (before.draft, after.draft) if before.draft != after.draft else None,
        {name: (pair[0], pair[1]) for name, pair in fields.items()},
    )


def dumps(change: Change) -> str | None:
    """The change as text for the record, None where there is none."""
    return json.dumps(change.to_dict(), ensure_ascii=False) if change else None


def loads(text: str | None) -> Change:
    """Inverse of `dumps`."""
    if text is None:
        return Change()
    kept = json.loads(text)
    draft = kept["draft"]
    return Change(
        (draft["before"], draft["after"]) if draft else None,
        {name: (pair["before"], pair["after"]) for name, pair in kept["fields"].items()},
    )


def _pair(pair: tuple[Any, Any]) -> dict[str, Any]:
    return {"before": pair[0], "after": pair[1]}
