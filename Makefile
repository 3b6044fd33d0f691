# The developer's day. `make` alone lists the verbs: the lines with two hashes.
PYTHON ?= python3
# One torch version for everybody; on a machine without a GPU a CPU build of it is enough
# (see https://pytorch.org/get-started for its index, and pass it as PIP_FLAGS="--index-url ...").
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser test-oldest lint types docs coverage test-random dist check-dist cards figures clean install install-all kernels

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv with the package in it

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e .
	touch $@

$(VENV)/.test-installed: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e '.[test]'
	touch $@

$(VENV)/.dev-installed: pyproject.toml $(VENV)/.test-installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e '.[test,docs,dev]'
	touch $@

# What all the verbs below need, by one call of pip, which would compile to bytecode on one core alone. Some packages
# carry files that are no Python of this version; nobody imports those.
install-all: $(VENV)/bin/python ## Make .venv with all that tests, types, pages and the browser's tests need
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile $(PIP_FLAGS) '$(TORCH)' -e '.[test,docs,dev,browser]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	touch $(VENV)/.installed && touch $(VENV)/.test-installed && touch $(VENV)/.dev-installed $(VENV)/.browser-installed

# Two processes that start together would both compile.
kernels: $(VENV)/.installed ## Compile what numba compiles, for all processes that come later
	$(BIN)/python scripts/compile_kernels.py

demo: $(VENV)/.installed ## Run the whole chain once; open demo/report.html afterwards
	$(BIN)/solquery demo --out demo

# A file stays on one process: what its tests share is made once. In the order of the folders, the long ones are not last.
test: $(VENV)/.test-installed ## Run the tests, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q

# The page in a real browser: Debian's chromium (apt-get install chromium), or the one that CHROMIUM names.
test-browser: $(VENV)/.browser-installed ## Test the page in a real browser, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile -q -m browser tests/app

$(VENV)/.browser-installed: pyproject.toml $(VENV)/.test-installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e '.[test,browser]'
	touch $@

# The oldest series of every dependency that pyproject.toml allows, in an environment of its own.
test-oldest: constraints.txt ## Run the tests with the oldest dependencies that are supported
	$(PYTHON) scripts/oldest_versions.py --check
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[test]'
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q

test-random: $(VENV)/.dev-installed ## Run the tests in random order, on two processes (ORDER=seed repeats one)
	$(BIN)/python -m pytest -n 2 -q --random-order-bucket=global $(if $(ORDER),--random-order-seed=$(ORDER))

coverage: $(VENV)/.dev-installed ## Lines that the tests run; fails under 90 %
	$(BIN)/python -m pytest -q --cov=solquery --cov-report=term --cov-fail-under=90

lint: $(VENV)/.test-installed ## Check style: ruff check, ruff format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev-installed ## Check types: mypy
	$(BIN)/mypy

docs: $(VENV)/.dev-installed ## Build docs/_build/html; a warning is an error
	$(BIN)/python scripts/model_card.py --check
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

dist: $(VENV)/.dev-installed ## Build wheel and sdist into dist/
	rm -rf dist && $(BIN)/python -m build --outdir dist .

check-dist: dist ## Install the wheel into an empty environment and run the demo there
	$(BIN)/python scripts/check_dist.py dist --torch '$(TORCH)' $(if $(PIP_FLAGS),--pip-flags='$(PIP_FLAGS)')

cards: $(VENV)/.installed ## Write the model cards from the shipped models
	$(BIN)/python scripts/model_card.py

# The pictures and tables that are committed under docs/.
figures: $(VENV)/.installed ## Make the pictures and tables that are committed under docs/
	$(BIN)/python scripts/compare_simulated.py --out docs/simulated
	$(BIN)/python scripts/make_page_pictures.py

clean: ## Remove what was built
	rm -rf demo build dist docs/_build docs/gallery docs/project docs/api/generated .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
