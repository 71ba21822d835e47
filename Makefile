# Everything a person or CI runs. `make run` and `make test` are enough on a fresh machine with python3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
STAMP := $(VENV)/.ttchat-installed
# The CPU engine's torch, pinned: newer versions on the registry are CUDA builds of several GB.
TORCH := torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help setup run test check format lint types imports bench test-tt test-remote clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu,web,dev]'
	@touch $@

setup: $(STAMP)  ## Make the venv, install everything, fetch the default model
	$(BIN)/ttchat-tui models pull smollm2-135m-instruct

run: $(STAMP)  ## Start the chat; make run ARGS='-p "Hello"' passes arguments on
	@$(BIN)/ttchat-tui $(ARGS)

test: setup  ## Run all tests
	$(BIN)/python -m pytest -n auto

check: format lint types imports  ## Format, lint, types, imports, spelling (no tests)

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(STAMP)
	$(BIN)/pyright

imports: $(STAMP)
	$(BIN)/lint-imports

bench: setup  ## Run every benchmark; figures to benchmarks/results/
	@for f in benchmarks/bench_*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info
