# Everything a developer does. Needs Python 3.11 or newer and git; `make setup` brings the rest into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.dev-requirements
SHELL_SCRIPTS := start_everything.sh .ci/run scripts/cloud/deploy.sh

.PHONY: setup run test lint bench demo soak mutants help

help:
	@echo "make setup   virtual environment with everything that tests and linters need"
	@echo "make run     start a node (the same as ./start_everything.sh)"
	@echo "make test    all tests; T=path limits them"
	@echo "make lint    ruff, mypy, shellcheck, and eslint and tsc for the dashboard"
	@echo "make demo    the demo gate: one e-mail through two nodes on this machine"
	@echo "make bench   the benchmarks"
	@echo "make soak    random histories of sync, lease and executions without end; ARGS='--minutes 30' or '--seed N' limit"
	@echo "make mutants deliberate breaks of sync, lease and acting, each of which the tests must catch; ARGS=NAME limits them"

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	"$(PYTHON)" -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch "$(STAMP)"

run:
	./start_everything.sh

test: setup
	"$(BIN)/python" -m pytest $(if $(T),$(T),-n 3 --dist worksteal)

lint: setup
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SHELL_SCRIPTS); shellcheck -x $(SHELL_SCRIPTS); \
	else echo "shellcheck is not installed: shell scripts are not checked"; test "$$CI" != true; fi
	@if command -v npm >/dev/null; then cd dashboard && { test -d node_modules || npm ci --silent; } && npm run lint; \
	else echo "Node is not installed: the dashboard is not checked"; test "$$CI" != true; fi

demo: setup
	"$(BIN)/python" -m scripts.demo_gate

bench: setup
	"$(BIN)/python" -m benchmarks

soak: setup
	"$(BIN)/python" -m tests.soak $(ARGS)

mutants: setup
	"$(BIN)/python" -m tests.mutants $(ARGS)
