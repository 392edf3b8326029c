# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-postgresql gnupg postgresql bench sweep lint types docs lock clean
demo: $(STAMP)
	$(BIN)/lms-bridge demo

test: $(STAMP) gnupg postgresql lint types
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not bench and not sweep"

# The same tests with every store on a real PostgreSQL, but for the few that are about SQLite's file alone.
test-postgresql: $(STAMP) gnupg postgresql
	$(BIN)/python -m pytest -n 2 --dist worksteal --database postgresql -m "not bench and not sweep"

# The tests of PGP feeds make keys and encrypt with a real GnuPG.
gnupg:
	@command -v gpg > /dev/null || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq && apt-get install -y -qq gnupg; } || { echo "Install GnuPG first: sudo apt-get install gnupg"; exit 2; }

# The tests start a PostgreSQL server of their own; without one they skip and say so.
postgresql:
	@command -v postgres > /dev/null || ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } || echo "Without a PostgreSQL server its tests are skipped: sudo apt-get install postgresql"

bench: $(STAMP)
	$(BIN)/python -m pytest -m bench -s -p no:xdist tests/bench

sweep: $(STAMP) test-postgresql
	$(BIN)/python -m pytest -m sweep -s

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m pytest tests/unit/docs

# Debian and Ubuntu ship Python without venv; as root the missing package is installed, otherwise pip says what to install.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lms-bridge needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv --clear $(VENV); } || { echo "Install venv first: sudo apt-get install python3-venv"; exit 2; }
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Needs `uv` (pip install uv). Writes hashes, no addresses.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --all-extras -q pyproject.toml build-requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
