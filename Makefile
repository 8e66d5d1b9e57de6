# kstore: every task by one word; `make help` lists them.
#
# Everything a task needs besides Python (3.11 or later), a C compiler and make is installed by pip into .venv, which
# only this file writes. What is installed for what stands in pyproject.toml; a changed pyproject.toml installs again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
JOBS ?= 2
PYTEST_ARGS ?=

# `make native PYTHON=...` builds for that interpreter; every other task uses the environment's own.
RUN := PYTHONPATH=src $(VENV)/bin/python
PYTEST := $(RUN) -m pytest
PIP := $(VENV)/bin/python -m pip install --quiet
CMAKE := $(VENV)/bin/cmake
SUITES := tests/unit tests/property tests/crash tests/simulation tests/docs tests/tidy

.PHONY: help
help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# -- environments: one stamp file for each group of pyproject.toml -----------------------------------------------

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kstore needs Python 3.11 or later; $(PYTHON) is older. Name one:  make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet 'pip>=25.1'
	@touch $@

$(VENV)/.group-%: pyproject.toml $(VENV)/.python
	@echo "installing what '$*' needs into $(VENV)"
	@$(PIP) --group $*
	@touch $@

.PHONY: env
env: $(VENV)/.group-build $(VENV)/.group-test ## make the virtual environment

# -- build -------------------------------------------------------------------------------------------------------

.PHONY: native build wheel
native: ## build the native modules into src/, for PYTHON (a developer's own environment)
	@cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$$(command -v $(PYTHON)) -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build build/dev
	@cmake --install build/dev --prefix src >/dev/null

build: $(VENV)/.group-build ## build the native modules into src/, for the environment's Python
	@mkdir -p build
	@PATH="$$PWD/$(VENV)/bin:$$PATH" $(CMAKE) -S . -B build/venv -G Ninja \
	  -DPython_EXECUTABLE="$$PWD/$(VENV)/bin/python" -DCMAKE_BUILD_TYPE=Release > build/log 2>&1 \
	  && PATH="$$PWD/$(VENV)/bin:$$PATH" $(CMAKE) --build build/venv >> build/log 2>&1 \
	  && $(CMAKE) --install build/venv --prefix src >> build/log 2>&1 \
	  || { cat build/log >&2; exit 1; }

wheel: $(VENV)/.group-package ## build dist/*.whl and dist/*.tar.gz
	@rm -rf dist
	@mkdir -p build
	@$(VENV)/bin/python -m build --outdir dist . > build/log 2>&1 || { cat build/log >&2; exit 1; }
	@ls dist

.PHONY: package
package: wheel build $(VENV)/.group-test ## build the wheel, look into it, install it into a fresh environment, use it
	@$(PYTEST) -m package tests/package $(PYTEST_ARGS)

# -- tests -------------------------------------------------------------------------------------------------------

.PHONY: test slow clients interop fuzz
test: build $(VENV)/.group-test ## build and run the tests that need no JVM and no patience
	@$(PYTEST) -n $(JOBS) -m "not slow and not interop and not package and not clients" $(wildcard $(SUITES)) $(PYTEST_ARGS)

slow: build $(VENV)/.group-test ## the tests that walk far: crash states, bit flips, failing calls
	@HYPOTHESIS_PROFILE=ci $(PYTEST) -n $(JOBS) -m "slow and not interop" $(wildcard $(SUITES)) $(PYTEST_ARGS)

clients: build $(VENV)/.group-test $(VENV)/.group-clients ## real clients against a broker in the tests' own process
	@$(PYTEST) -m "clients" tests/clients $(PYTEST_ARGS)

interop: build $(VENV)/.group-test $(VENV)/.group-interop ## against a real Kafka on loopback (needs Java 17 and Maven)
	@$(PYTEST) -m "interop" tests/interop $(PYTEST_ARGS)

SEEDS ?= 100
FIRST ?= 1
MINUTES ?= 12
.PHONY: simulate
simulate: build $(VENV)/.group-test ## clusters under faults, SEEDS of them from FIRST on, MINUTES of simulated time each
	@$(RUN) -m kstore.testing.simulation --seed $(FIRST) --seeds $(SEEDS) --minutes $(MINUTES) --jobs $(JOBS)

.PHONY: soak soak-simulate
soak-simulate: build $(VENV)/.group-test ## cluster seeds from where the ledger ends, for SOAK_MINUTES; adds a row to it
	@$(RUN) tests/simulation/soak.py --minutes $(SOAK_MINUTES) --jobs $(JOBS) $(SOAK_ARGS)

SOAK_MINUTES ?= 10
SOAK_FIRST ?= 1
soak: build $(VENV)/.group-test ## crash states of seed after seed, for SOAK_MINUTES from SOAK_FIRST on
	@$(RUN) tests/crash/soak.py $(SOAK_MINUTES) $(SOAK_FIRST)

FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.group-build ## every native parser under libFuzzer with sanitizers, FUZZ_SECONDS each (needs clang)
	@$(RUN) tests/fuzz/run.py $(FUZZ_SECONDS)

.PHONY: model
model: build ## replication in every order of events (docs/MODEL.md)
	@$(RUN) -m kstore.testing.model $(or $(MODEL_ARGS),--all --states 3000000)

.PHONY: breakit
breakit: build $(VENV)/.group-test ## plant known bugs, one at a time: the tests must notice each
	@PATH="$$PWD/$(VENV)/bin:$$PATH" $(RUN) tests/breakit/run.py $(BREAKIT_ARGS)

# -- judgement ---------------------------------------------------------------------------------------------------

.PHONY: lint types
lint: $(VENV)/.group-lint ## ruff and cython-lint
	@$(VENV)/bin/ruff check .
	@PATH="$$PWD/$(VENV)/bin:$$PATH" cython-lint --max-line-length=120 src/kstore/_native

types: build $(VENV)/.group-test $(VENV)/.group-lint ## mypy --strict
	@$(VENV)/bin/mypy

# -- reading -----------------------------------------------------------------------------------------------------

.PHONY: docs
docs: build $(VENV)/.group-test $(VENV)/.group-docs ## build the documentation into docs/_build/html
	@PYTHONPATH=src $(VENV)/bin/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# -- showing -----------------------------------------------------------------------------------------------------

.PHONY: demo bench bench-broker
.demo/.installed: pyproject.toml CMakeLists.txt $(shell find src -name '*.py' -o -name '*.p[yx]*' -o -name '*.[ch]')
	@echo "building and installing kstore into .demo/venv (about a minute the first time)"
	@test -x .demo/venv/bin/python || $(PYTHON) -m venv .demo/venv
	@.demo/venv/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps . \
	  && .demo/venv/bin/python -m pip install --quiet --disable-pip-version-check '.[compression,cli,client]'
	@touch $@

demo: .demo/.installed ## install kstore into an environment of its own and show the whole of it on real input
	@.demo/venv/bin/python -m kstore.apps.demo $(DEMO_ARGS)

bench: build $(VENV)/.group-test $(VENV)/.group-bench ## measure this machine, peers and kstore; print and draw the table
	@$(RUN) -m benchmarks $(BENCH_ARGS)

bench-broker: build $(VENV)/.group-test $(VENV)/.group-clients $(VENV)/.group-bench ## the broker beside a real Kafka (needs Java 17 and Maven)
	@$(RUN) -m benchmarks.broker $(BENCH_ARGS)

# -- cleaning ----------------------------------------------------------------------------------------------------

.PHONY: clean distclean
clean: ## remove what was built
	@rm -rf build dist docs/_build .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	@find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	@find src -name '*.so' -delete

distclean: clean ## and the environment
	@rm -rf $(VENV)
