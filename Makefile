# Everything runs from a fresh clone: each target makes .venv and installs the pinned set first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN_OK := $(VENV)/.installed
DEV_OK := $(VENV)/.installed-dev
export PYTHONDONTWRITEBYTECODE ?=
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

# llama.cpp is compiled for this processor, but without AMX, which crashed: see uses_amx in engine/gguf/llama_library.py.
ifneq (,$(shell grep -sw amx_int8 /proc/cpuinfo))
export CMAKE_ARGS += -DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8
endif

.PHONY: setup setup-dev demo test test-fast fuzz check format bench lock clean help

help:            ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(RUN_OK): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tuningfork needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || \
	  { echo "A C compiler is needed to build llama-cpp-python (Debian: apt-get install build-essential)." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned set; the first time llama-cpp-python is compiled, about four minutes on two cores."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -c 'import llama_cpp, sys; sys.exit(b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info())' || \
	  { echo "The wheel of llama-cpp-python in pip's cache uses AMX; compiling it again without."; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --force-reinstall --no-deps \
	      --no-binary llama-cpp-python `grep '^llama_cpp_python==' requirements.lock`; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_OK): $(RUN_OK) requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

setup: $(RUN_OK)     ## .venv with the pinned dependencies and the tuningfork command
setup-dev: $(DEV_OK) ## the same plus what tests and checks need

demo: $(RUN_OK)      ## the main job, unattended: sample data -> QLoRA run -> base and tuned side by side
	$(BIN)/tuningfork demo

test: $(DEV_OK)      ## all tests, the real default model included
	$(BIN)/python scripts/run_tests.py

test-fast: $(DEV_OK) ## the tests that need no real model, no screen and no torch: about a minute
	$(BIN)/python -m pytest -q -m "not slow and not screen" --ignore=tests/torch --ignore=tests/gpu -n 2

fuzz: $(DEV_OK)      ## the tests that draw at random, with new draws, for MINUTES=10
	$(BIN)/python scripts/run_tests.py --fuzz $(or $(MINUTES),10)

check: $(DEV_OK)     ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_OK)    ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_OK)     ## the benchmarks behind every figure in benchmarks/RESULTS.md
	@for b in compare terminal export; do echo "== $$b"; $(BIN)/python benchmarks/$$b.py || exit 1; done

lock:                ## resolve the pinned set again from pyproject.toml
	sh scripts/lock.sh

clean:               ## remove .venv and caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
