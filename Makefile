# make demo    set up, train on real handwritten digits for about a minute, evaluate, show where the result is
# make play    the playground in the browser: see a GAN play, use your runs, follow trainings
# make test    set up, run every fast test
# make test-browser   the playground in a real Chromium (Debian: apt-get install chromium)
# make bench   repeat every measurement that is not in benchmarks/results yet (hours), fill the tables of the docs
# make setup   only the virtual environment, with .venv/bin/agon
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo play test test-browser setup lint convergence bench clean

setup: .venv/.setup

demo: .venv/.setup
	$(BIN)/agon train r3gan --data digits --out runs/demo
	$(BIN)/agon evaluate runs/demo

play: .venv/.setup
	$(BIN)/agon play

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 -rs -m "not slow and not browser"

test-browser: .venv/.dev
	$(BIN)/python -m pytest tests/browser -rs

lint: .venv/.dev
	$(BIN)/ruff check .

convergence: .venv/.dev
	$(BIN)/python -m pytest -m slow

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agon needs Python 3.11 or newer: make setup PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.setup: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing Agon into .venv (PyTorch is large: this takes a minute or more) ..."
	$(PIP) --editable '.[demo,play]'
	@touch $@

.venv/.dev: .venv/.setup
	$(PIP) --editable '.[dev]'
	@touch $@

bench: .venv/.setup
	for name in digits precision mixtures games; do $(BIN)/python benchmarks/quality/measure.py $$name || exit 1; done
	for name in pix2pix spade cyclegan cut stargan; do $(BIN)/python benchmarks/quality/translation.py $$name || exit 1; done
	$(BIN)/python benchmarks/speed/compare.py --out benchmarks/results/speed.json
	$(BIN)/python benchmarks/speed/overhead.py --out benchmarks/results/overhead.json
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
