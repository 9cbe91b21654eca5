# `make help` lists the targets. Everything is installed into folders named .venv*.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEV := .venv/.dev

.DEFAULT_GOAL := help
.PHONY: help train test test-slow test-peers test-oldest lint format types docs bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

train: $(INSTALLED)  ## install, then train a small CLIP on real handwritten digits (about three minutes)
	$(BIN)/passl data prepare digits
	$(BIN)/python tools/train.py -c configs/quick/digits.yaml --resume auto

test: $(DEV)  ## the suite to run before each commit
	$(BIN)/python -m pytest -q

test-slow: $(DEV)  ## the longer tests: kills, several processes, whole runs
	$(BIN)/python -m pytest -q -m slow

test-peers: .venv-peers/.installed  ## compare with torch, transformers and open_clip
	.venv-peers/bin/python -m pytest -q -m peers

test-oldest: .venv-oldest/.installed  ## the suite on paddlepaddle 2.6.2
	.venv-oldest/bin/python -m pytest -q

lint: $(DEV)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)  ## put the code into ruff's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)  ## mypy on the rooms without tensor code
	$(BIN)/mypy

docs: $(DEV)  ## build the documentation into site/, strictly
	$(BIN)/python tools/make_config_docs.py --check
	$(BIN)/python tools/make_model_docs.py --check
	$(BIN)/mkdocs build --strict --quiet

bench: $(INSTALLED)  ## speed on this machine, in rows
	$(BIN)/python tools/bench/train_step.py

clean:  ## remove what the targets above have made, but no data and no runs
	rm -rf .venv .venv-peers .venv-oldest site build dist *.egg-info

$(INSTALLED): setup.py requirements-common.txt requirements-cpu.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	touch $@

$(DEV): $(INSTALLED) requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

.venv-peers/.installed: setup.py requirements-common.txt requirements-cpu.txt requirements-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --editable '.[cpu]'
	.venv-peers/bin/python -m pip install --quiet -r requirements-peers.txt
	touch $@

.venv-oldest/.installed: setup.py requirements-common.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --editable . 'paddlepaddle==2.6.2' 'numpy<2' 'protobuf<7' pytest nbclient nbformat ipykernel
	touch $@
