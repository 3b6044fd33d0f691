# The developer's day: make demo, make test, make test-browser, make lint, make figures, make clean.
PYTHON ?= python3
# One torch version for everybody; on a machine without a GPU a CPU build of it is enough
# (see https://pytorch.org/get-started for its index, and pass it as PIP_FLAGS="--index-url ...").
TORCH ?= torch==2.13.0
PIP_FLAGS ?=
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: demo test test-browser lint figures clean install

install: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e .
	touch $@

$(VENV)/.test-installed: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e '.[test]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/solquery demo --out demo

test: $(VENV)/.test-installed
	$(BIN)/python -m pytest -n 2 -q

# The page in a real browser: Debian's chromium (apt-get install chromium), or the one that CHROMIUM names.
test-browser: $(VENV)/.browser-installed
	$(BIN)/python -m pytest -q -m browser tests/app

$(VENV)/.browser-installed: pyproject.toml $(VENV)/.test-installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) '$(TORCH)' -e '.[test,browser]'
	touch $@

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The pictures and tables that are committed under docs/.
figures: $(VENV)/.installed
	$(BIN)/python scripts/compare_simulated.py --out docs/simulated

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis src/*.egg-info
