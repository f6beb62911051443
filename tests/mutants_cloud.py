"""The deliberate breaks of the cloud node's server; how they are used: `tests/mutants.py`.

Each is (name, what it breaks, file, text, replacement, test file, which tests).
"""

SETTINGS, CHECKS, SAY = (f"scripts/cloud/{name}" for name in ("settings.py", "lib/checks.sh", "lib/say.sh"))
WATCHERS = "scripts/cloud/systemd/ai-employee-watchers.service"
TESTS, DAEMON = "tests/test_cloud.py", "tests/test_daemon.py"

# fmt: off
MUTANTS = (
    ("cloud-sends", "a credential that sends is let onto the cloud's server (S5)", SETTINGS,
     "    problems = refusals(values) + [", "    problems = [", TESTS, "credential_that_sends"),
    ("cloud-sends-by-file", "… where a file holds it", SETTINGS,
     'for suffix in ("", "_FILE")', 'for suffix in ("",)', TESTS, "credential_that_sends"),
    ("cloud-sends-early", "it is found only when all is installed", CHECKS,
     "(export[[:space:]]+)?'?(%s)(_FILE)?", "'?(%s)", TESTS, "credential_that_sends"),
    ("cloud-acts", "the unit leaves it to a file whether the node acts (S5)", WATCHERS,
     "Environment=AGENT_NAME=cloud AGENT_MODE=draft_only\n", "", TESTS, "drafts_only"),
    ("cloud-all-secrets", "each unit carries every secret", SETTINGS,
     "name.removesuffix(\"_FILE\") not in withheld", "True", TESTS, "no_other_secret"),
    ("cloud-half-taken", "settings that are wrong reach some of the units", SETTINGS,
     "        raise Refused(problems)\n    parts", "        pass\n    parts", TESTS, "are_wrong"),
    ("cloud-env-overwritten", "a second run makes a person's .env anew", SETTINGS,
     "mode=0o600, replace=False)", "mode=0o600)", TESTS, "made_once"),
    ("cloud-two-monitors", "the orchestrator starts a second health monitor", WATCHERS,
     " SUPERVISE_HEALTH_MONITOR=false", "", TESTS, "one_health_monitor"),
    ("cloud-soft-unit", "a unit may write everywhere", WATCHERS,
     "ProtectSystem=strict", "ProtectSystem=no", TESTS, "hardened"),
    ("cloud-always-changed", "a second run writes what is right already", SAY,
     'cmp -s "$text" "$1"', "false", TESTS, "counted_once"),
    ("watchdog-waited-out", "systemd ends a worker that only waits", "utils/daemon.py",
     "worker.wait(min(pause, longest_wait()), stop)", "worker.wait(pause, stop)", DAEMON, "waited_out"),
    ("watchdog-children", "a child tells systemd that its parent lives", "utils/adapters/processes.py",
     "if name not in _OF_SYSTEMD", "if True", DAEMON, "parents_name"),
)
