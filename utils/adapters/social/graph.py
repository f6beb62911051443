"""Meta's Graph API: how its errors read. Sources: "Handle Errors" of the Graph API, "Error Codes" of the Cloud API."""

from __future__ import annotations

from utils.adapters.social.http import Answer, Api, Bearer, Verdict, by_status, field_of, shown

#: An unknown error, a service that is down: either can follow a call that took effect.
_TRANSIENT = frozenset({1, 2, 131000, 131016})
_CREDENTIALS = frozenset({0, 3, 10, 102, 190, 463, 467, 131005})
_THROTTLED = frozenset({4, 17, 32, 341, 613, 130429, 131048, 131056, *range(80000, 80015)})


def graph(name: str, base: str, version: str, token: str, *, timeout: float, credentials: str) -> Api:
    """A client of the Graph API. The token travels in a header, so no address that is logged has it."""
    return Api(
        name, f"{base}/{version}", Bearer(token), timeout=timeout, credentials=credentials, judge=judge, explain=explain
    )


def judge(answer: Answer) -> Verdict:
    """By the error's code, which says more than the status."""
    code = field_of(answer.body, "error", "code")
    if not isinstance(code, int):
        return by_status(answer)
    if code in _THROTTLED:
        return Verdict.LATER
    if answer.status >= 500 or code in _TRANSIENT or field_of(answer.body, "error", "is_transient") is True:
        return Verdict.OPEN
    if code in _CREDENTIALS or 200 <= code <= 299:
        return Verdict.CREDENTIALS
    # The status of other codes tells no more: 403 stands for a policy (368) as well.
    return Verdict.REFUSED if 400 <= answer.status < 500 else Verdict.OPEN


def explain(answer: Answer) -> str:
    """Message, details and code of an error."""
    error = field_of(answer.body, "error") or {}
    words = [
        field_of(error, "message"),
        field_of(error, "error_data", "details"),
        field_of(error, "error_user_msg"),
    ]
    said = "; ".join(dict.fromkeys(shown(word) for word in words if word))
    return f"{said} (code {field_of(error, 'code')})" if said else ""
