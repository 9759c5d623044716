# The commands of this checkout; `make help` lists them. PYTHON names the interpreter
# to start from (3.11 or newer), everything else happens inside .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
TEST_JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n $(TEST_JOBS)
# Scripts in a virtual environment hold its path: a moved checkout has no stamp.
STAMP := $(VENV)/ready-$(shell pwd | cksum | cut -d' ' -f1)
CXX_FILES := $(wildcard kernels/cpu/*.cc kernels/cpu/*.h)

# Nothing of the caller's Python may reach ours.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONINSPECT PYTHONOPTIMIZE
unexport VIRTUAL_ENV CONDA_PREFIX
unexport PYTEST_ADDOPTS PYTEST_PLUGINS PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX PIP_USER PIP_CONSTRAINT
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# An interpreter named on the command line is always looked at.
ifeq ($(origin PYTHON),command line)
$(STAMP): FORCE
endif

.PHONY: FORCE help setup setup-tpu setup-stats study test test-slow test-matrix test-tpu lint format build-files lock bazel clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) \
	  | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP) ## make .venv: the locked packages and this checkout
	@:

$(STAMP): tools/setup.sh requirements.lock pyproject.toml setup.py $(CXX_FILES)
	@tools/setup.sh '$(PYTHON)' '$(VENV)'
	@touch $@

setup-tpu: $(STAMP) ## add the TPU compiler (130 MB), for `clinometer tpu-cost`
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-tpu.lock

setup-stats: $(STAMP) ## add statsmodels, which a test of tools/inference compares with
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-stats.lock

study: $(STAMP) ## pretrain the size ladder, fit the slope, write the report [ARCHS= SIZES= STEPS= JOBS= OUT=]
	@$(BIN)/clinometer study $(if $(ARCHS),--archs '$(ARCHS)') $(if $(SIZES),--sizes '$(SIZES)') \
	  $(if $(STEPS),--steps '$(STEPS)') $(if $(JOBS),--jobs '$(JOBS)') $(if $(OUT),--out '$(OUT)')

test: $(STAMP) ## run the tests, without the slow ones
	@# Tests of one file share what they compile, so they stay in one process.
	@$(PYTEST) --dist loadfile -m 'not slow and not matrix' $(ARGS)

test-slow: $(STAMP) ## run the slow tests only
	@$(PYTEST) -m 'slow and not matrix' $(ARGS)

test-matrix: $(STAMP) ## run the larger matrices (hours), and write tests/MATRIX.md
	@$(PYTEST) -p tests.matrix_report --matrix-report tests/MATRIX.md -m matrix $(ARGS)

test-tpu: setup-tpu ## run the tests that need the TPU compiler, without the slow ones
	@$(PYTEST) -m 'not slow and not matrix' tests/tools/plan $(ARGS)

lint: $(STAMP) ## check style: ruff and clang-format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(STAMP) ## rewrite the sources in style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CXX_FILES)

build-files: $(STAMP) ## write the BUILD files from the imports of the sources
	@$(BIN)/python -m clinometer.tools.bazel.build_files

lock: ## resolve pyproject.toml anew into requirements.lock [PACKAGES=]
	@PYTHON='$(PYTHON)' tools/lock.sh $(PACKAGES)

bazel: $(STAMP) ## set up Bazel, build everything, run the smoke tests under it
	@tools/bazel/setup.sh
	@bazel build //...
	@bazel test //tests:smoke

clean: ## remove .venv and everything built; runs and caches of data stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .bazel
	find kernels -name '_native*.so' -delete
