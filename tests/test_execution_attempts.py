"""R4: nothing is carried out that the human at Local did not approve, whoever tries (`tests.attempts`).

`python -m tests.soak --attempts 100000` makes more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acting_ground import Broken, Ground, laid
from tests.attempts import KINDS, Attempt, attempt, works
from utils.core.policy import ACTIONS

ATTEMPTS = 1_000


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with laid() as ground:
        yield ground


def test_what_all_attempts_begin_with_is_carried_out_once_it_is_approved(ground: Ground) -> None:
    assert works(ground) == len(ACTIONS)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_no_attempt_is_carried_out(ground: Ground, kind: int) -> None:
    for serial in range(ATTEMPTS // len(KINDS) + 1):
        try:
            attempt(ground, serial * len(KINDS) + kind)
        except Broken as broken:
            pytest.fail(str(broken))


@pytest.mark.parametrize(
    "kind", ["flipped_in_approved", "flipped_in_pending", "flipped_in_journal", "flipped_statement"]
)
def test_every_byte_of_what_was_approved_counts(ground: Ground, kind: str) -> None:
    """One bit of each byte: of the file, of the frozen bytes in the journal, of a signed approval."""
    number = [one.__name__ for one in KINDS].index(kind)
    length = len(Attempt(ground, 0, "reply_email").paper.wordings[0])
    for serial in range(length if kind != "flipped_in_pending" else length // 4):
        attempt(ground, serial * len(KINDS) + number, "reply_email")
