# Everything runs in $(VENV), inside this tree; `make` alone lists the targets.
#   make setup PYTHON=python3.12     another interpreter (the environment is made again)
#   make study STUDY_CMD='pat ...'   another sweep

PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS ?= requirements-tested.txt
JOBS ?= 2
# The scale that the book reports. Beside it stands the first round, on short schedules: its verdicts in a few words, and
# the chapters of the data set that the main scale has no runs of.
MAIN := digits
FIRST := digits-24 cifar10-small-30
BESIDE := cifar10-small-30
STUDY_CMD ?= pat sweep --profile $(MAIN) --preset study --jobs $(JOBS)

BIN := $(VENV)/bin
PY := $(BIN)/python
PYTEST = $(PY) -m pytest -n $(JOBS) --dist worksteal
STAMP := $(VENV)/.setup
SETUP_LOG := $(VENV)/setup.log
BOOK_HTML := book/_build/html
CACHE := $(CURDIR)/build/cache
$(shell mkdir -p $(CACHE))
IN_VENV := PATH="$$(cd $(BIN) && pwd):$$PATH"

# Tools that would write to the home directory write here instead.
export IPYTHONDIR := $(CACHE)/ipython
export JUPYTER_CONFIG_DIR := $(CACHE)/jupyter/config
export JUPYTER_DATA_DIR := $(CACHE)/jupyter/data
export MPLCONFIGDIR := $(CACHE)/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONNOUSERSITE := 1

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup study test test-oldest test-faults bench audit vulnerabilities lint types notebooks-smoke book pages \
  check-book clean distclean FORCE

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# An environment survives neither a move of the tree nor another interpreter: its identity is kept in a file, and when
# that is not the identity wanted now, it is made again. Without PYTHON= the interpreter it has is the one wanted.
IDENTITY := $(VENV)/.identity
VERSION := import sys; print(*sys.version.split())
WANTED := $(CURDIR) $(shell $(if $(filter file,$(origin PYTHON)),$(PY),$(PYTHON)) -c '$(VERSION)' 2>/dev/null)
OUTDATED := $(shell test "$$(cat $(IDENTITY) 2>/dev/null)" = "$(WANTED)" || echo FORCE)

setup: $(STAMP) ## create .venv with the exact tested versions (again only when they change)

$(STAMP): pyproject.toml $(REQUIREMENTS) $(OUTDATED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "setup: Python 3.11 or later is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	  echo "setup: name another interpreter, for example: make setup PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "setup: '$(PYTHON)' has no venv module (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 2; }
	$(if $(OUTDATED),@echo "setup: creating $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear $(VENV))
	@echo "$(CURDIR) $$($(PY) -c '$(VERSION)')" > $(IDENTITY)
	@# What is used is compiled when it is first imported; compiling all of it takes a minute more.
	@echo "setup: installing the versions of $(REQUIREMENTS), the first time some minutes and 7 GB (log: $(SETUP_LOG))"
	@$(PY) -m pip install --no-compile -c $(REQUIREMENTS) -e '.[dev]' > $(SETUP_LOG) 2>&1 || { \
	  grep -v '^WARNING: Location' $(SETUP_LOG) | tail -n 20 >&2; \
	  echo "setup: pip failed, the whole log is in $(SETUP_LOG)" >&2; exit 2; }
	@touch $(STAMP)
	@echo "setup: ready, use it with: source $(BIN)/activate"

study: setup ## the first study on the embedded digits: its runs, the book with them, and how they compare with the published
	@$(IN_VENV) $(STUDY_CMD)
	@OMP_NUM_THREADS=1 $(PY) -m pat.study.report.executing --profile $(MAIN) --store results --jobs $(JOBS)
	@$(MAKE) pages
	@$(IN_VENV) pat results compare --store runs

test: setup ## run the tests
	@OMP_NUM_THREADS=1 $(PYTEST)

# PyYAML 6.0 and others of the oldest versions have no wheels for the Pythons after 3.11.
OLDEST_VENV := .venv-oldest
OLDEST_PYTHON := $(if $(filter file,$(origin PYTHON)),python3.11,$(PYTHON))

test-oldest: ## run the tests with the oldest supported versions, in an environment of their own, .venv-oldest
	@$(MAKE) test VENV=$(OLDEST_VENV) REQUIREMENTS=requirements-oldest.txt PYTHON=$(OLDEST_PYTHON)

test-faults: setup ## the fault bench, long; its record goes to results/, the book quotes it
	@OMP_NUM_THREADS=1 $(PYTEST) tests/faults --faults long \
	  --faults-record results/measured/faults/bench.json

bench: setup ## ratios of speed and cost, under 15 minutes on two idle cores; its record goes to results/, the book quotes it
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks --out results/measured/bench/bench.json

audit: setup ## offline: dependencies agree, and what is installed is pinned exactly
	@$(PY) -m pip check
	@$(PY) -m pat.study.report.supply --pins $(REQUIREMENTS)

# It asks an advisory database over the network, so it is no part of the checks. Exact pins need no resolver.
PIP_AUDIT ?= pipx run pip-audit
vulnerabilities: ## pip-audit: known vulnerabilities of the tested versions (needs pipx and the network)
	$(PIP_AUDIT) -r $(REQUIREMENTS) --no-deps --disable-pip

lint: setup ## ruff: lint and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: setup ## mypy, strict, on src/pat
	@$(PY) -m mypy

notebooks-smoke: setup ## execute every notebook at the smallest size
	@OMP_NUM_THREADS=1 $(PY) -m pat.study.report.executing --profile tiny --store build/smoke-runs --out build/smoke --jobs $(JOBS)

book: setup ## build the book from results/, without any training
	@test -f results/runs.csv || { \
	  echo "book: results/ has no published runs; publish some with: pat results publish" >&2; exit 2; }
	@OMP_NUM_THREADS=1 $(PY) -m pat.study.report.executing --profile $(MAIN) --store results --jobs $(JOBS)
	@$(MAKE) pages

pages:
	@OMP_NUM_THREADS=1 $(PY) -m pat.study.report.executing --profile $(BESIDE) --store results --jobs $(JOBS)
	@$(PY) -m pat.study.report.facts --profile $(MAIN) --before $(FIRST) --store results
	@$(PY) -m pat.study.report.book

check-book: setup ## look at the built book in a headless Chromium
	@$(PYTEST) tests/study/report/test_book_browser.py --book $(BOOK_HTML)

clean: ## remove what is built; runs/, data/ and .venv stay
	rm -rf build dist book/_build book/executed book/_generated .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests notebooks book benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## clean, and remove .venv and .venv-oldest
	rm -rf $(VENV) $(OLDEST_VENV)
