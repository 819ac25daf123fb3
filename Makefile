# What a developer or operator types; `make help` lists it. PYTHON=/path/to/python chooses the interpreter.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check -qq
ARGS ?=
SEED ?= 7
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help install run test lint pytest client-test mutants chaos bench routes screenshots lock compose-test clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A virtual environment that does not run any more (its Python is gone) is made anew.
$(shell [ ! -e $(BIN)/python ] || $(BIN)/python -c '' 2>/dev/null || rm -rf $(VENV))

$(BIN)/pip:
	@python=$$(scripts/find-python) && echo "making $(VENV) with $$($$python --version)" && $$python -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/pip
	@echo "installing MishPulse into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.tested: requirements-test.lock $(VENV)/.installed
	@echo "installing the test tools"
	@$(PIP) install --require-hashes -r requirements-test.lock
	@touch $@

install: $(VENV)/.installed ## .venv with the console script .venv/bin/mishpulse
	@echo "ready: $(BIN)/mishpulse"

run: $(VENV)/.installed ## everything, on port 8080, with a demo monitor; data in ./data
	@exec $(BIN)/mishpulse up --demo $(ARGS)

test: lint client-test pytest ## all checks and tests, against every Redis and Valkey found

lint: $(VENV)/.tested ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd client && $(abspath $(BIN))/mypy

pytest: $(VENV)/.tested ## the tests alone; ARGS go to pytest
	$(BIN)/pytest $(ARGS)

client-test: $(VENV)/.tested ## the tests of client/, which runs without MishPulse
	cd client && $(abspath $(BIN))/pytest $(ARGS)

mutants: $(VENV)/.tested ## bugs on purpose, each must be noticed; ONLY=name plants one
	PYTHONPATH=tests $(BIN)/python -m chaos.mutations $(ONLY)

chaos: $(VENV)/.tested ## the promises under fault; SEED=7 MINUTES=30, ONLY=name, WRITE=1: docs/reliability.md
	PYTHONPATH=tests:. $(BIN)/python -m chaos.campaign --seed $(SEED) --minutes $(MINUTES) \
		$(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS)) $(if $(WRITE),--write)

bench: $(VENV)/.tested ## the measurements, one after another; ROW=ingest runs one
	$(BIN)/python bench $(ROW)

compose-test: $(VENV)/.tested ## docker-compose.yml, end to end, with a real engine
	$(BIN)/python tests/flows/compose/story.py $(ARGS)

screenshots: $(VENV)/.tested ## docs/screenshots anew, by a Chromium that is there
	$(BIN)/python tests/browser/screenshots.py

routes: $(VENV)/.installed ## the Caddyfiles' routes from shared/routes.py
	$(BIN)/python -m shared.routes

lock: ## requirements.lock and requirements-test.lock, with today's versions
	scripts/lock $$(scripts/find-python)

clean: ## forget the virtual environment and caches; data stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
