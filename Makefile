# `make setup`, `make demo`, `make check` and `make test` each work on a machine that has only Python >= 3.11.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DOCS   := .venv-docs
# Containers often forbid bytecode: then each process compiles torch and the rest anew, several seconds every time.
unexport PYTHONDONTWRITEBYTECODE
UV     := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)

.PHONY: help setup demo check test docs lock clean

help: ## show these lines
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.installed ## create .venv from the lock of exact versions and hashes

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: requirements.lock pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

demo: setup ## train on generated images, print COCO AP, write pictures (under 5 minutes on two cores)
	$(BIN)/spinet demo

check: setup ## format, lint, types, layers, fast tests (under 90 seconds)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow" -q -n auto

test: setup ## every check and every test (under 15 minutes on two cores)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n auto --durations=10

# An environment of its own: the site reads docstrings without importing the package, so it needs no torch.
$(DOCS)/.installed: requirements-docs.lock | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(DOCS)
	$(UV) pip sync --quiet --require-hashes --python $(DOCS)/bin/python requirements-docs.lock
	@touch $@

docs: $(DOCS)/.installed ## build the documentation site in build/site and check its links
	PYTHONPATH=src $(DOCS)/bin/python scripts/docs_site.py

lock: $(filter .uv/bin/uv,$(UV)) ## resolve requirements.lock and requirements-docs.lock anew
	$(UV) pip compile --quiet pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --upgrade --output-file requirements.lock
	$(UV) pip compile --quiet --group docs --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --upgrade --output-file requirements-docs.lock

clean: ## remove everything that setup and the tests made
	rm -rf .venv .venv-docs .uv build .cache runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
