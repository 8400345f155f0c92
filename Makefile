# Everything a user types. `make help` lists it. Every target sets up what it needs in .venv first; a stamp makes the second call start at once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install --no-compile -c constraints.txt

SOURCE ?= samples
ROOT ?= outputs/samples
OUT ?= outputs/curation
PROFILE ?= embedded
ARGS ?=

.PHONY: help setup setup-train curate samples plan models report test test-all lint bench-curation bench-model train-lipsync constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make curate SOURCE=folder ROOT=my/videos OUT=outputs/mine PROFILE=embedded ARGS='--set workers=2 --limit 100'"
	@echo "  The same and more: $(BIN)/python -m curation --help"

# --- set-up --------------------------------------------------------------------------------------------------------------------------
$(VENV)/.python: 
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt requirements-nodeps.txt
	@echo "setting up $(VENV) (about a minute, under 1 GB)"
	$(PIP) -e .
	$(PIP) --no-deps -r requirements-nodeps.txt
	@touch $@

$(VENV)/.train: $(VENV)/.core
	@echo "adding torch and what the trainer and the tests need (several GB, some minutes)"
	$(PIP) -e '.[train,eval,app,dev]'
	@touch $@

setup: $(VENV)/.core ## .venv with the embedded curation (no torch)
setup-train: $(VENV)/.train ## the same with torch, diffusers, transformers and the test tools

# --- curation ------------------------------------------------------------------------------------------------------------------------
curate: $(VENV)/.core ## score and filter clips into OUT/manifest.parquet and OUT/report.html (default: rendered sample clips)
	$(BIN)/python -m curation run --source '$(SOURCE)' --root '$(ROOT)' --out '$(OUT)' --profile '$(PROFILE)' $(ARGS)

samples: $(VENV)/.core ## render the sample clips into outputs/samples
	$(BIN)/python -m curation samples --out outputs/samples

plan: $(VENV)/.core ## what `make curate` with the same SOURCE and ROOT would cost
	$(BIN)/python -m curation plan --source '$(SOURCE)' --root '$(ROOT)' --profile '$(PROFILE)' $(ARGS)

models: $(VENV)/.core ## fetch and verify the paper profile's weights; says what is missing and how to get it by hand
	$(BIN)/python -m curation models fetch $(ARGS)

report: $(VENV)/.core ## write OUT/report.html again
	$(BIN)/python -m curation report '$(OUT)' $(ARGS)

train-lipsync: $(VENV)/.train ## train the landmark lip-sync network: make train-lipsync MANIFEST=outputs/mine OUT=outputs/lipsync
	$(BIN)/python -m curation train-lipsync '$(MANIFEST)' --out '$(OUT)' $(ARGS)

# --- model ---------------------------------------------------------------------------------------------------------------------------
bench-model: $(VENV)/.train ## speed of the transformers beside the matrix-product ceiling and diffusers' PixArt
	$(BIN)/python -m benchmarks.model $(ARGS)

# --- quality -------------------------------------------------------------------------------------------------------------------------
test: $(VENV)/.train ## the test suite (what CI runs)
	$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/.train ## the slow tests and those on the real corpus too
	$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

lint: $(VENV)/.train ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench-curation: $(VENV)/.train ## speed of the curation beside its floors
	$(BIN)/python -m benchmarks.curation $(ARGS)

constraints: ## write constraints.txt from the packages in .venv
	$(BIN)/python -m pip freeze --exclude-editable | grep -v -f <(sed 's,==.*,,;/^\#/d' requirements-nodeps.txt) > constraints.new && mv constraints.new constraints.txt

clean: ## remove what the targets made, but not .venv
	rm -rf outputs build dist .pytest_cache .ruff_cache
