# Loopwright needs Python 3.11 or newer, make and git; everything else is installed into .venv on the first run.
#
# Variables:
#   PYTHON=python3.12   the interpreter to make .venv with (default: the first on the path that is 3.11 or newer)
#   TORCH_INDEX=URL     an index of torch builds, e.g. https://download.pytorch.org/whl/cpu for CPU builds, which are
#                       ten times smaller than the CUDA builds that Linux gets by default

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
# Stamps are named by the content of pyproject.toml: unchanged means installed, changed means installed anew.
HASH := $(shell git hash-object pyproject.toml)
RUN := $(VENV)/.installed-run-$(HASH)
DEV := $(VENV)/.installed-dev-$(HASH)
WEB := $(VENV)/.installed-web-$(HASH)
DRIVE := $(VENV)/.installed-drive-$(HASH)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
ifndef AT_ONCE
.NOTPARALLEL:
endif

# $(call step,NAME,COMMAND): run a command, say what runs and how long it took.
step = @echo "==> $(1): $(strip $(2))"; begin=$$SECONDS; $(2) || { code=$$?; echo "==> $(1): FAILED after \
	$$((SECONDS - begin)) s"; exit $$code; }; echo "==> $(1): ok, $$((SECONDS - begin)) s"

activate = echo "To use \`loopwright\` in this shell: source $(BIN)/activate"

.PHONY: help demo demo-surgery demo-recipe demo-drive console chromium test test-weights attack static lint fmt site types mypy \
	pyright layers unit docs bench clean chest

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(RUN) chest ## Run the C-arm loop on the real chest CT and write a report (installs what is missing)
	@$(BIN)/loopwright demo
	@$(activate)

demo-surgery: $(RUN) ## Run the surgery loop on a simulated patient and write a report (installs what is missing)
	@$(BIN)/loopwright demo surgery
	@$(activate)

console: $(WEB) ## Serve the web console and open it in the browser (installs what is missing)
	@$(BIN)/loopwright serve --open

demo-recipe: $(RUN) ## Run the recipe loop on a simulated dish and write a report (installs what is missing)
	@$(BIN)/loopwright demo recipe
	@$(activate)

demo-drive: $(DRIVE) ## Run the drive loop in the simulator and write a report (installs what is missing)
	@$(BIN)/loopwright demo drive
	@$(activate)

test: $(DEV) chest static unit ## Run everything that CI runs (installs what is missing)

static: $(DEV) # what reads the code and does not run it; each of these uses one core
	@$(MAKE) --jobs 2 AT_ONCE=1 lint mypy pyright layers

lint: $(DEV) ## Check style and formatting
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,ruff format,$(BIN)/ruff format --check .)

types: mypy pyright ## Check types, twice

mypy: $(DEV)
	$(call step,mypy,$(BIN)/mypy)

pyright: $(DEV)
	$(call step,pyright,$(BIN)/pyright)

layers: $(DEV) ## Check that imports run down only
	$(call step,import-linter,$(BIN)/lint-imports)

unit: $(DEV) chromium ## Run the tests
	$(call step,pytest,OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)

# The tests of the web console need a browser; where there is none they are skipped, and pytest names them.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { [ "$$(id -u)" = 0 ] && \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	echo "There is no \`chromium\`, and it cannot be installed here: the tests of the console's pages are skipped."

test-weights: $(DEV) ## Run the tests that need a pretrained model, which is fetched
	@$(BIN)/loopwright models fetch smol
	$(call step,pytest,OMP_NUM_THREADS=1 $(BIN)/pytest -m weights)

fmt: $(DEV) ## Repair style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(DEV) ## Write docs/cli.md from the real --help
	@$(BIN)/python docs/cli_reference.py > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

site: $(DEV) ## Build the documentation site into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Site: build/site/index.html"

bench: $(DEV) ## List the benchmarks; `make bench-NAME` runs one
	@grep -rl --include='*.py' '^if __name__ == "__main__"' benchmarks | sed 's/\.py$$//; s/.__main__$$//; s/^benchmarks./  make bench-/' | sort

bench-%: $(DEV)
	@$(BIN)/python $(firstword $(wildcard benchmarks/$* benchmarks/$*.py) benchmarks/$*)

attack: $(DEV) ## Attack what is promised of sessions, for minutes; writes the table of docs/reliability.md
	@$(BIN)/python -m tests.attack

clean: ## Remove .venv and every cache of the tools
	rm -rf $(VENV) build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

chest: $(RUN)
	@$(BIN)/loopwright data fetch chest || echo "The real chest CT could not be fetched; a phantom stands in for it."

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11 or newer is on the path. Install one, or name it: make PYTHON=..."; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11."; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make environments. \
	On Debian and Ubuntu: apt install python3-venv"; exit 1; }

# $(call install,EXTRAS): install this checkout, editable, with torch first where an index of builds is named.
define install
@echo "==> installing loopwright$(1) into $(VENV); the first time takes some minutes"
$(if $(TORCH_INDEX),@$(BIN)/python -m pip install --index-url $(TORCH_INDEX) "$$(sed -n 's/^ *"\(torch[^"]*\)",$$/\1/p' pyproject.toml)")
@$(BIN)/python -m pip install --editable ".$(1)"
@rm -f $@ $(VENV)/.installed-*
endef

$(RUN): | $(BIN)/python
	$(call install,)
	@touch $(RUN)

$(DEV): | $(BIN)/python
	$(call install,[dev])
	@touch $(RUN) $(DEV) $(WEB) $(DRIVE)

$(WEB): | $(BIN)/python
	$(call install,[web])
	@touch $(RUN) $(WEB)

$(DRIVE): | $(BIN)/python
	$(call install,[drive])
	@touch $(RUN) $(DRIVE)
