.DEFAULT_GOAL := help
.PHONY: help setup demo serve test faults lint bench bench-full audit lock clean

BIN := .venv/bin

# The first Python that is new enough; looked for only when the environment is made.
PYTHON = $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

help:  ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

setup: .venv/.installed  ## Install everything into .venv; the others do it by themselves.

demo: setup  ## Place orders, kill the worker, account for every event, go on serving (EXIT=1: exit).
	@$(BIN)/python -m config.demo

serve: setup  ## Run everything, without demo data (PORT=8001 for another port).
	@$(BIN)/python -m config.serve

test: setup  ## Run all tests, against real servers that they start and stop.
	@$(BIN)/pytest $(if $(OUTBOX_REDIS_URL),,-n 2 --dist loadgroup)

faults: setup  ## Kill, stop, cut off and fill up everything, again and again: takes long.
	@FAULTS=long STATEFUL=long $(BIN)/pytest tests/faults tests/stateful

lint: setup  ## Check style, types and the direction of imports.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@DJANGO_DEBUG=1 $(BIN)/mypy && $(BIN)/lint-imports

bench: setup  ## Measure relay, latency, saves, consumers and growth against their floors.
	@$(BIN)/python -m benchmarks

bench-full: setup  ## The same in more shapes and sizes: three quarters of an hour.
	@$(BIN)/python -m benchmarks --full --json benchmarks.json

audit: setup  ## Look up known vulnerabilities of what is locked; without a network, say so.
	@$(BIN)/python .ci/audit.py

lock:  ## Resolve requirements-dev.txt anew; needs uv.
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --all-extras --group dev \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml -o requirements-dev.txt

clean:  ## Remove what the others made.
	rm -rf .venv .run .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/.installed: requirements-dev.txt
	$(if $(PYTHON),,$(error Python 3.11 or newer is needed, and none was found))
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install its venv module (on Debian: apt-get install python3-venv)."; exit 1; }
	@echo "Installing into .venv with $(PYTHON): a minute or two, once."
	@$(PYTHON) -m venv .venv && $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt && touch $@
