# The front door. `make demo` and `make test` do everything on a fresh machine with Python ≥ 3.11.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test check docs bench results clean

help:
	@echo "make demo     a synthetic district with known truth: map, report, targets"
	@echo "make test     lint, format, types, import contract, doctests, tests"
	@echo "make check    the same without the tests"
	@echo "make docs     the documentation, into site/"
	@echo "make bench    the benchmarks, each a table of ratios beside peers"
	@echo "make results  the slow tests, and every method on every area: docs/results.md, which-method.md"
	@echo "make clean    remove what the above made, the environment included"

# A stamp per set of packages: a second run needs no network.
$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --editable '.[dev,deep]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(PIP) --editable '.[docs]'
	touch $@

$(VENV)/.bench: $(VENV)/.core
	$(PIP) --editable '.[bench]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/gossan demo demo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread a process: small networks lose more to threads than they gain.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.bench
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

results: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m slow
	$(BIN)/python examples/results.py

clean:
	rm -rf $(VENV) demo site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
