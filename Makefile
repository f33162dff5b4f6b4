# Everything a user or CI runs. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= synthetic
export TZ := UTC
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export FEAST_USAGE := False

.PHONY: help
help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# pip, and torch named in the same command: where a CPU build is provided, that is what
# it takes; installed later or by another package it would bring gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch -e '.[dev]'
	@touch $(STAMP)

.PHONY: install
install: $(STAMP)  ## Make .venv and install everything into it, once

.PHONY: demo
demo: install  ## The whole way and its lift: make demo [DATA=../shared/data/online_retail]
	$(BIN)/sail-features demo --data $(DATA)

.PHONY: test
test: install  ## The tests, without the slow ones, in two processes of whole files
	$(BIN)/pytest -m 'not slow' -n 2 --dist loadfile

.PHONY: fmt
fmt: install  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: install  ## Style, docstrings, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

.PHONY: type
type: install  ## mypy --strict
	$(BIN)/mypy

.PHONY: check
check: lint type test  ## What CI runs: lint, types, tests

.PHONY: check-all
check-all: lint type  ## Everything, the slow tests too
	$(BIN)/pytest

.PHONY: bench
bench: install  ## One benchmark: make bench NAME=spine
	@test -n '$(NAME)' || { echo 'give NAME=, one of:' $(notdir $(basename $(wildcard benchmarks/[a-z]*.py))); exit 2; }
	$(BIN)/python benchmarks/$(NAME).py

.PHONY: apply
apply: install  ## Register feature_repo/ over the tables of the last demo
	$(BIN)/sail-features apply

.PHONY: notebooks
notebooks: install  ## Run every notebook from top to bottom, on the last demo
	@test -f build/demo/summary.json || $(MAKE) demo
	$(BIN)/jupyter execute notebooks/*.ipynb

.PHONY: clean
clean:  ## Remove what was built; the virtual environment stays
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache feature_repo/data/*.db*
