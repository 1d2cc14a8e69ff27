# `make demo` or `make test` is all a fresh machine needs: each sets up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: setup demo test kills torture check format lint types clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/headstart demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto -m "not torture"

# Kills, faults and mutants: a part of them, and all of them.
kills: $(INSTALLED)
	$(BIN)/python -m pytest -m torture

torture: $(INSTALLED)
	HEADSTART_TORTURE=all $(BIN)/python -m pytest -m torture -s

check: format lint types test

format: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
