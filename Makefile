# `make demo` or `make test` is all a fresh machine needs: each sets up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: setup browser demo study test kills torture check format lint types clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(INSTALLED)

# A browser for the tests that click through pages; without one they are left out.
browser:
	@.ci/browser

demo: $(INSTALLED)
	$(BIN)/headstart demo

# The published study's four backbones, small and untrained, on embedded data: every step, and the report.
study: $(INSTALLED)
	$(BIN)/headstart study --dataset digits --weights random:0 --image-size 64 --limit 160 --bench-limit 32 \
	    --seeds 3 --curve-seeds 2 --curve-epochs 5 --features-dir build/study/features --runs-dir build/study/runs

# A process takes what is left of another's half, so that nearly every file, and what its tests share, stays in one process.
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not torture"

# Kills, faults and mutants: a part of them, and all of them.
kills: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m torture

torture: $(INSTALLED)
	HEADSTART_TORTURE=all $(BIN)/python -m pytest -m torture -s

check: format lint types test

format: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED)
	$(BIN)/ruff check .

# mypy finds modules by folders alone: build/types links the rooms below headstart.core, as an installation has them.
types: $(INSTALLED)
	rm -rf build/types
	mkdir -p build/types/headstart/core
	ln -s $(filter-out %/core %/__pycache__,$(wildcard $(CURDIR)/headstart/*)) build/types/headstart/
	ln -s $(addprefix $(CURDIR)/,headstart/core/__init__.py cache extract heads cli.py) build/types/headstart/core/
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
