# The commands of this checkout; `make help` lists them. PYTHON is the interpreter that
# .venv is created with (3.11 or newer); everything else runs inside .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
# Those that `make wheels` builds for.
PYTHONS ?= $(PYTHON)
TEST_JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n $(TEST_JOBS)
# The stamp's name contains the path, since a virtual environment cannot be moved.
STAMP := $(VENV)/ready-$(shell pwd | cksum | cut -d' ' -f1)
CXX_FILES := $(wildcard kernels/cpu/*.cc kernels/cpu/*.h)

# The caller's Python settings must not affect ours.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONINSPECT PYTHONOPTIMIZE
unexport VIRTUAL_ENV CONDA_PREFIX
unexport PYTEST_ADDOPTS PYTEST_PLUGINS PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX PIP_USER PIP_CONSTRAINT
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# With PYTHON=... on the command line, always check the interpreter.
ifeq ($(origin PYTHON),command line)
$(STAMP): FORCE
endif

.PHONY: FORCE help setup setup-cuda setup-tpu setup-stats setup-notebook setup-ray setup-peer setup-mesh-tf wheels study test test-slow test-matrix test-tpu test-peer test-mesh-tf lint format build-files lock bazel clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) \
	  | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(STAMP) ## create .venv with the locked packages and this checkout
	@:

$(STAMP): tools/setup.sh requirements.lock pyproject.toml setup.py $(CXX_FILES)
	@tools/setup.sh '$(PYTHON)' '$(VENV)'
	@touch $@

setup-cuda: $(STAMP) ## add JAX's libraries for NVIDIA GPUs, also for `clinometer plan --gpu` (2.5 GB, 4.4 GB on disk)
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-cuda.lock

setup-tpu: $(STAMP) ## add the TPU compiler (130 MB), for `clinometer tpu-cost`
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-tpu.lock

setup-stats: $(STAMP) ## add statsmodels, which a test of tools/inference compares with
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-stats.lock

setup-notebook: $(STAMP) ## add Jupyter's kernel and nbclient, which run tools/report/notebook.ipynb
	@$(BIN)/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-notebook.lock

setup-ray: ## create .venv-ray, an environment with Ray (270 MB more), for studies on its clusters
	@tools/setup.sh '$(PYTHON)' .venv-ray
	@.venv-ray/bin/python -m pip install -qq --retries 5 --require-hashes --requirement requirements-ray.lock

# An environment beside .venv that also sees the packages in it. $(1) is its path, $(2) the
# lock file of what it adds.
define ADDED
@$(BIN)/python -m venv $(1)
@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
  >"$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/clinometer-setup.pth"
@$(1)/bin/python -m pip install -qq --retries 5 --no-compile --require-hashes --requirement $(2)
endef

setup-peer: $(STAMP) ## create .venv-peer, which adds PyTorch and transformers for comparisons (CPUs, Python 3.11)
	$(call ADDED,.venv-peer,requirements-peer.lock)

setup-mesh-tf: $(STAMP) ## create .venv-mesh-tf, which adds TensorFlow for `convert` (1.4 GB; Python 3.11)
	$(call ADDED,.venv-mesh-tf,requirements-mesh-tf.lock)
	@sed "1s|.*|#!$$PWD/.venv-mesh-tf/bin/python|" $(BIN)/clinometer >.venv-mesh-tf/bin/clinometer
	@chmod +x .venv-mesh-tf/bin/clinometer

wheels: ## build wheels for Linux on x86-64 into dist, for each of PYTHONS="python3.11 python3.12 ..."
	@tools/wheels.sh dist $(PYTHONS)

study: $(STAMP) ## train and fine-tune a ladder of sizes, fit the slope, write the report [ARCHS= SIZES= STEPS= JOBS= OUT= VIT=1 (images)]
	@$(BIN)/clinometer study $(if $(VIT),--config tools/study/configs/vit_digits.py $(if $(OUT),,--out runs/vit)) \
	  $(if $(ARCHS),--archs '$(ARCHS)') $(if $(SIZES),--sizes '$(SIZES)') \
	  $(if $(STEPS),--steps '$(STEPS)') $(if $(JOBS),--jobs '$(JOBS)') $(if $(OUT),--out '$(OUT)')

test: $(STAMP) ## run the tests except the slow ones [ARGS=]
	@# Tests in the same file share compiled programs, so each file runs in one process.
	@$(PYTEST) --dist loadfile -m 'not slow and not matrix' $(ARGS)

test-slow: $(STAMP) ## run only the slow tests [ARGS=]
	@$(PYTEST) -m 'slow and not matrix' $(ARGS)

test-matrix: $(STAMP) ## run the largest tests (80 min) and write tests/MATRIX.md [ARGS=]
	@$(PYTEST) -p tests.matrix_report --matrix-report tests/MATRIX.md -m matrix $(ARGS)

test-tpu: setup-tpu ## run the tests that need the TPU compiler, except the slow ones [ARGS=]
	@$(PYTEST) -m 'not slow and not matrix' tests/tools/plan $(ARGS)

test-peer: setup-peer ## run the tests that compare with transformers [ARGS=]
	@.venv-peer/bin/python -m pytest -q tests/tools/released/peer tests/models/vision/test_peer.py $(ARGS)

test-mesh-tf: setup-mesh-tf ## run the tests that convert checkpoints of TensorFlow [ARGS=]
	@.venv-mesh-tf/bin/python -m pytest -q tests/tools/released/mesh $(ARGS)

lint: $(STAMP) ## check the style with ruff and clang-format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(STAMP) ## format the sources with ruff and clang-format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CXX_FILES)

build-files: $(STAMP) ## generate the BUILD files from the imports of the sources
	@$(BIN)/python -m clinometer.tools.bazel.build_files

lock: ## update the requirements*.lock files from pyproject.toml [PACKAGES=]
	@PYTHON='$(PYTHON)' tools/lock.sh $(PACKAGES)

bazel: $(STAMP) ## set up Bazel, build everything and run the smoke tests with it
	@tools/bazel/setup.sh
	@bazel build //...
	@bazel test //tests:smoke

clean: ## remove the environments and all build outputs, but not runs and cached data
	rm -rf $(VENV) .venv-ray .venv-peer .venv-mesh-tf build dist *.egg-info .pytest_cache .ruff_cache .bazel
	find kernels -name '_native*.so' -delete
