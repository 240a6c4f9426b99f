# KidneySeg: each target sets up all that it needs, in .venv, and then does its job. The second time it is quick.
# Another interpreter: make setup PYTHON=python3.12

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
EXTRAS := train,slicer-host,cohort,test
MARKS  := $(VENV)/.kidneyseg

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test lint benchmark screenshots fuzz faults sbom clean

help:
	@echo "make demo         the main job on a sample case made on the spot; results in demo/"
	@echo "make test         ruff, mypy and all tests"
	@echo "make setup        what running needs, in .venv (no torch)"
	@echo "make setup-dev    all extras, for testing, training and the panel"
	@echo "make benchmark | screenshots | fuzz | faults | sbom"

setup: $(MARKS)-run
setup-dev: $(MARKS)-dev $(MARKS)-debian

demo: $(MARKS)-run
	$(BIN)/kidneyseg demo -o demo

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGUMENTS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# These run a script of Testing/ and say so where this version has none.
benchmark: setup-dev
	@$(call run_script,Testing/benchmarks/run.py)
screenshots: setup-dev
	@$(call run_script,Testing/make_screenshots.py)
fuzz: setup-dev
	@$(call run_script,Testing/fuzz/run.py)
faults: setup-dev
	@$(call run_script,Testing/faults/run.py)
# What comes along, with versions, licences and hashes: sbom.json (CycloneDX).
sbom: setup-dev
	@$(call run_script,Testing/sbom.py)

clean:
	rm -rf $(VENV) demo build dist

run_script = if [ -f $(1) ]; then $(BIN)/python $(1); else echo "This version has no $(1)." >&2; exit 2; fi

# Set-up. A stamp stands for "installed with this pyproject.toml and these pins".
$(MARKS)-venv:
	@set -e; \
	for candidate in $(PYTHON) python3.12 python3.13 python3.11 python3.10 python3 python; do \
	  if $$candidate -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	      >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$($$candidate --version)"; \
	    [ -x $(BIN)/python ] || $$candidate -m venv $(VENV); \
	    mkdir -p $(VENV); touch $@; exit 0; \
	  fi; \
	done; \
	echo "KidneySeg needs Python 3.10 to 3.13 with venv. Found none: install one" \
	     "(Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 2

$(MARKS)-run: $(MARKS)-venv pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(MARKS)-dev: $(MARKS)-venv pyproject.toml constraints.txt
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $(MARKS)-run $@

$(MARKS)-debian: Testing/debian-packages.txt $(MARKS)-venv
	@packages=$$(grep -v '^#' $<); \
	command -v dpkg-query >/dev/null || { touch $@; exit 0; }; \
	missing=$$(for p in $$packages; do \
	  dpkg-query -W -f='$${Status}\n' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then touch $@; \
	elif [ "$$(id -u)" = 0 ]; then \
	  echo "Installing" $$missing; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing >/dev/null && touch $@; \
	else \
	  echo "Some tests need system packages. Run: sudo apt-get install" $$missing; \
	fi
