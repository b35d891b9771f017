# Every target sets up what it needs: uv, the locked dependencies, the broker's jars.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never
RUN := .venv/bin
MEMBERS := libs/common libs/sandbox services/admin services/ingest services/resolver services/netsuite-writer libs/cli
SOURCES := libs services tests benchmarks deploy
# Which proofs and benchmarks, and how long they take; a smoke test wants less.
SOAK ?= tests/soak
BENCH ?= end_to_end ingest resolver writer replay timeline flows sync compare telemetry reconcile
KILLS ?= 18
WRITER_KILLS ?= 50
WRITER_RECORDS ?= 20000
MODEL_CASES ?= 10000
ABUSE_SECONDS ?= 60
FUZZ_REQUESTS ?= 100000
REPLICA_WATCHED_S ?= 8
REPLICA_SHORT ?= 0
IDLE_MINUTES ?= 10
SECONDS_OF_LOAD ?= 30
EVENTS ?= 6000
ROUNDS ?= 5
WRITER_BENCH ?=
REPLAY_BENCH ?=
TIMELINE_BENCH ?=
FLOWS_BENCH ?=
SYNC_BENCH ?=
COMPARE_BENCH ?=
TELEMETRY_BENCH ?=
ARGS_end_to_end = --seconds $(SECONDS_OF_LOAD) --events $(EVENTS)
ARGS_ingest = --rounds $(ROUNDS)
ARGS_resolver = --rounds $(ROUNDS)
ARGS_writer = --rounds $(ROUNDS) $(WRITER_BENCH)
ARGS_replay = $(REPLAY_BENCH)
ARGS_timeline = $(TIMELINE_BENCH)
ARGS_flows = $(FLOWS_BENCH)
ARGS_sync = $(SYNC_BENCH)
ARGS_compare = $(COMPARE_BENCH)
ARGS_telemetry = $(TELEMETRY_BENCH)
ARGS_reconcile = $(COMPARE_BENCH)

.PHONY: help setup demo test check format soak bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: .venv/ready  ## install everything that is locked in requirements.lock into .venv

demo: setup  ## play a believable company through the whole product and compare NetSuite with what it should hold
	@$(RUN)/mlc demo

test: setup  ## all that a developer runs before a commit
	@$(RUN)/pytest tests --ignore=tests/e2e -n 3 --dist loadfile --no-loadscope-reorder
	@$(RUN)/pytest tests/e2e -n 2 --dist loadfile

check: setup  ## format, lint, types, import rules
	@$(RUN)/ruff format --check $(SOURCES)
	@$(RUN)/ruff check $(SOURCES)
	@$(RUN)/mypy
	@$(RUN)/lint-imports

format: setup  ## let ruff repair what it can
	@$(RUN)/ruff format $(SOURCES)
	@$(RUN)/ruff check --fix $(SOURCES)

soak: setup  ## the long proofs; the report goes to docs/proof/
	@KILLS=$(KILLS) WRITER_KILLS=$(WRITER_KILLS) WRITER_RECORDS=$(WRITER_RECORDS) MODEL_CASES=$(MODEL_CASES) \
		ABUSE_SECONDS=$(ABUSE_SECONDS) FUZZ_REQUESTS=$(FUZZ_REQUESTS) \
		REPLICA_WATCHED_S=$(REPLICA_WATCHED_S) REPLICA_SHORT=$(REPLICA_SHORT) \
		$(RUN)/pytest $(SOAK) -p support.unlisted --import-mode=importlib -o addopts= -s -v
	@$(RUN)/python benchmarks/end_to_end.py --idle-minutes $(IDLE_MINUTES)

bench: setup  ## print the figures that the README claims
	@set -e; $(foreach name,$(BENCH),PYTHONPATH=tests $(RUN)/python benchmarks/$(name).py $(ARGS_$(name));)

lock: $(UV)  ## choose new versions for requirements.lock
	@$(UV) lock --upgrade
	@$(UV) export -q --all-packages --all-groups --no-emit-workspace --no-annotate --no-header -o requirements.lock

clean:  ## remove the environment and what the tests left
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var

.venv/ready: requirements.lock $(MEMBERS:%=%/pyproject.toml) | $(UV)
	@$(UV) venv -q --allow-existing --python $(PYTHON) .venv
	@$(UV) pip sync -q --python .venv --require-hashes requirements.lock
	@$(UV) pip install -q --python .venv --no-deps $(MEMBERS:%=-e %)
	@touch $@

.tools/bin/uv:
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install -q --disable-pip-version-check uv
