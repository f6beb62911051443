"""Commands for a person. Ctrl-C ends each of them quietly, even while it still loads, with 130 as a shell expects."""

from __future__ import annotations

import sys
from types import TracebackType

_INTERRUPTED = 130


def _without_a_word(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print(file=sys.stderr)  # after the terminal's ^C
    sys.exit(_INTERRUPTED)


sys.excepthook = _without_a_word
