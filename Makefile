# The project's commands. A bare machine needs make and Python 3.11 or newer, nothing else.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# A stamp says that its requirements are installed. While an installation runs there is none, so
# an interrupted one is started over with an empty environment.
DEMO := $(VENV)/.demo-ready
DEV := $(VENV)/.dev-ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test conformance lint types check bench crash-matrix fuzz docs clean requirements

help: ## Show the commands
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1@/p' Makefile | awk -F@ '{ printf "make %-14s %s\n", $$1, $$2 }'

# $(call install,requirements file,the stamps it earns)
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "twofold needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
			"Install one and run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up $(VENV) from $(1) ..." >&2
	@test -e $(DEMO) || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(DEMO) $(DEV)
	@$(PIP) install --require-hashes --requirement $(1)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(2)
endef

$(DEMO): requirements/demo.txt pyproject.toml
	$(call install,requirements/demo.txt,$(DEMO))

$(DEV): requirements/dev.txt requirements/demo.txt pyproject.toml
	$(call install,requirements/dev.txt,$(DEMO) $(DEV))

setup: $(DEV) ## Install everything that the checks need into .venv

demo: ## Pack a model, predict a million customers, serve one
	@began=$$(date +%s) && $(MAKE) --no-print-directory $(DEMO) \
		&& echo "set-up: $$(( $$(date +%s) - began )) s" >&2
	@$(BIN)/twofold demo

test: $(DEV) $(if $(ARGS),$(findstring conformance,$(ARGS)),conformance) ## Run the tests; ARGS="tests/unit -k words" for some
	$(BIN)/python -m pytest $(ARGS)

# Foreign clients, each in an environment of its own: they want other versions than we do, and
# than each other. Where one can't be had, its tests say so and are skipped; not in the CI.
CLIENTS := $(patsubst requirements/%.in,.venv-%/.ready,$(wildcard requirements/conformance-*.in))

conformance: $(DEV) ## Install the foreign clients of tests/conformance, into .venv-conformance-*
	@$(MAKE) --silent --no-print-directory --jobs 2 $(CLIENTS)

.venv-conformance-%/.ready: requirements/conformance-%.txt
	@echo "setting up $(@D) from $< ..." >&2
	@$(BIN)/python -m venv --clear --without-pip $(@D)
	@$(PIP) --python $(@D)/bin/python install --no-compile --require-hashes --requirement $< \
		&& touch $@ || { echo "$(@D) can't be set up; its tests are skipped" >&2; test "$$CI" != true; }

lint: $(DEV) ## Check style, layout and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

types: $(DEV) ## Check the types
	$(BIN)/basedpyright

check: lint types test ## All checks; what the continuous integration runs

bench: $(DEV) ## Run the benchmarks, each a ratio within one run
	@for file in bench/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Needs strace; without it, runs are only killed at their steps. Small disks need leave to mount.
# ARGS="--fault BROKEN_DISK" for some; "--part power-loss"; "--page docs/crash-matrix.md" for the page.
crash-matrix: $(DEV) ## Kill batch runs, break their disk, cut their power, and resume them
	PYTHONPATH=tests/faults $(BIN)/python -m crash_matrix $(ARGS)

# Needs a C compiler with sanitizers, and no Python. A new seed each time, unless FUZZ_SEED=1.
FUZZ_S ?= 30
FUZZERS := $(addprefix build/fuzz_,answer forest http index linear sketch)
FUZZED := $(addprefix src/kernel/,forest.c forest_lookup.c forest_row.c inputs.c instructions.c \
	linear.c link.c)
build/fuzz_answer: FUZZED := src/load/answer.c
build/fuzz_http: FUZZED := src/wire/plain.c
build/fuzz_index: FUZZED := src/store/index.c
build/fuzz_sketch: FUZZED := src/kernel/sketch.c
SANITIZED := -g -O1 -std=c11 -ffp-contract=off -Wall -Wextra -Wno-psabi \
	-fsanitize=address,undefined -fno-sanitize-recover=all

build/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h src/kernel/* src/load/* src/store/* src/wire/*)
	@mkdir -p $(@D)
	$(CC) $(SANITIZED) -Isrc/kernel -Isrc/load -Isrc/store -Isrc/wire -o $@ $< $(FUZZED) -lm

fuzz: $(FUZZERS) ## Fuzz the native code under sanitizers; FUZZ_S=300 for five minutes
	@set -e; for fuzzer in $(FUZZERS); do \
		$$fuzzer $$(($(FUZZ_S) / $(words $(FUZZERS)))) $(FUZZ_SEED); done

docs: $(DEV) ## Write docs/reference anew from the code
	$(BIN)/python -m twofold.cli.reference docs/reference
	$(BIN)/python tests/e2e/bad_inputs.py docs/reference/bad-inputs.md

clean: ## Remove what make and the tools made; packed models and stores stay
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf .venv-bench .venv-conformance-* twofold-demo
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Only for those who change a dependency; needs uv (`pipx install uv`). The other files are held
# to the versions of dev.txt, so that one environment serves them all.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements"

requirements: ## Resolve requirements/*.txt anew from pyproject.toml and requirements/*.in
	$(COMPILE) $(UPGRADE) pyproject.toml requirements/dev.in \
		--extra delta --extra duckdb --extra lightgbm --extra objects --extra onnx --extra otel \
		--extra postgresql --extra ray --extra redis --extra sklearn --extra sql \
		--output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) pyproject.toml requirements/build.in --constraint requirements/dev.txt \
		--extra onnx --extra sklearn --output-file requirements/demo.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/dev.txt \
		--output-file requirements/base.txt
	$(COMPILE) $(UPGRADE) requirements/bench.in --constraint requirements/dev.txt \
		--output-file requirements/bench.txt
	for file in requirements/conformance-*.in; do \
		$(COMPILE) $(UPGRADE) $$file --output-file $${file%.in}.txt || exit 1; done
