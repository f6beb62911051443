"""A real orchestrator over a table of the test's own: `python -m tests.fakes.orchestrate`, table in CHILDREN (JSON)."""

from __future__ import annotations

import json
import os
import sys

import Watchers.orchestrator as module
from utils.bootstrap import Services
from utils.core.supervision import RestartPolicy
from utils.daemon import run


class Orchestrator(module.Orchestrator):
    def __init__(self, services: Services) -> None:
        policy = RestartPolicy(first=0.02, longest=0.1, falls=4, window=600)
        super().__init__(services, json.loads(os.environ["CHILDREN"]), policy)


if __name__ == "__main__":
    module.STOP_SECONDS = 2.0
    sys.exit(run(Orchestrator))
