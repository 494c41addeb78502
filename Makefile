PYTHON ?= python3
TORCH ?= 2.13.0
VENV ?= .venv

PIP := $(VENV)/bin/python -m pip install --quiet
TOX := TORCH_VERSION=$(TORCH) $(VENV)/bin/tox

# What PyQt6's wheels and napari's OpenGL canvas load, and the X server without a screen.
SYSTEM_LIBRARIES := xvfb libdbus-1-3 libegl1 libfontconfig1 libgl1 libglib2.0-0 libopengl0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
	libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxkbcommon-x11-0

# $(call apt_install,packages): install them as root, or say what to run
define apt_install
	if [ "$$(id -u)" -eq 0 ]; then \
		apt-get update && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-upgrade --no-install-recommends $(1); \
	else \
		echo "Run this once, then make again:" >&2; \
		echo "  sudo apt-get install -y --no-upgrade --no-install-recommends $(strip $(1))" >&2; \
		exit 1; \
	fi
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format docs docs-serve bench clean system-libraries

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## denoise a sample image into demo-output/; opens napari where there is a display
	$(VENV)/bin/redenoise demo --out demo-output --overwrite

test: system-libraries $(VENV)/.tox ## lint, run all tests, build the site, in environments of their own
	$(TOX) run

lint: $(VENV)/.tox ## style, types, the import rule, the manifest
	$(TOX) run -e lint

format: $(VENV)/.tox ## rewrite the files in the project's style
	$(TOX) exec -e lint -- ruff check --fix .
	$(TOX) exec -e lint -- ruff format .

docs: $(VENV)/.tox ## build the site into site/, with warnings as errors
	$(TOX) run -e docs -- --site-dir "$(CURDIR)/site"

docs-serve: $(VENV)/.tox ## show the site on http://localhost:8000, anew after every change
	$(TOX) exec -e docs -- mkdocs serve

bench: $(VENV)/.demo ## run the benchmarks
	@set -e; for script in benchmarks/[a-z]*.py; do \
		if [ ! -e "$$script" ]; then echo "benchmarks/ holds no script"; break; fi; \
		echo "$$script"; $(VENV)/bin/python "$$script"; \
	done

clean: ## remove what make made
	rm -rf .venv .tox build dist site demo-output .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# apt-get is asked, rather than dpkg for the names: later releases renamed some of the packages.
system-libraries: ## the libraries that the tests' windows need (Debian, Ubuntu)
	@if [ "$$(uname -s)" != Linux ]; then \
		exit 0; \
	elif ! command -v apt-get >/dev/null; then \
		command -v Xvfb >/dev/null || { echo "Install Xvfb: the tests open windows" >&2; exit 1; }; \
	elif ! plan=$$(apt-get install --simulate --no-upgrade --no-install-recommends $(SYSTEM_LIBRARIES) 2>&1) \
		|| echo "$$plan" | grep -q '^Inst '; then \
		$(call apt_install,$(SYSTEM_LIBRARIES)); \
	fi

# Debian keeps ensurepip, which venv needs, in a package of its own.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt_install,python3-venv); }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.tox: $(VENV)/.created
	$(PIP) 'tox>=4.22'
	@touch $@

# torch first and by version, so that pip does not fetch a newer one for the package.
$(VENV)/.demo: $(VENV)/.created pyproject.toml
	$(PIP) torch==$(TORCH)
	$(PIP) --editable '.[all]'
	@touch $@
