# Everything runs in .venv, which is made when it is missing or pyproject.toml has changed.
#
#   make demo      build, push, pull and run a small image; no root, no network but for .venv
#   make check     lint, types, house rules, unit tests but slow ones: a minute, before a commit
#   make test      all tests but campaigns, on all CPUs; ARGS goes to pytest:
#                  make test ARGS='-x tests/unit/oci'
#   make lint      ruff: rules and format          make types   mypy
#   make image     builds the image ocitool for CI systems, with ocitool (docs/ci.md); another base
#                  or name: make image ARGS='--base debian:bookworm-slim --tag ci/ocitool:1'
#   make docs      writes docs/cli.md and migrate.md from the commands, and what drivers.md quotes
#   make bench     ours against the peers          make conformance   what each driver passes
#
# Campaigns try much at random, or the same with every driver as every user.  Those of the tests
# take twelve minutes together (make campaigns, which .ci/run calls); longer ones:
#
#   make crash     kills and power cuts            make soak   many processes in one store
#   make corruption   files of stores corrupted, and repaired
#   make projects  whole projects (Go, Node, Python, Rust, ...) built and run; installs compilers
#   make fuzz      random contexts and Dockerfiles, built by us, docker and buildah, for an hour
#
# Another environment: make test VENV=/somewhere.  One that is ready and is not to be touched:
# make test VENV=/somewhere PREPARED=1.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

python := $(VENV)/bin/python
ready := $(if $(PREPARED),,$(VENV)/.ready)
# Tests that are compiled anew each time take twenty seconds more.
unexport PYTHONDONTWRITEBYTECODE
# A worker takes whole files, in the order of tests/fixtures/workers.py.
pytest := $(python) -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo check test campaigns lint types image bench conformance crash corruption soak fuzz projects docs clean

demo: $(ready)
	$(python) testdata/demo/demo.py $(ARGS)

check: lint types
	$(pytest) -q -m 'not slow and not campaign' tests/house tests/unit

test: $(ready)
	$(pytest) -m 'not campaign' $(ARGS)

campaigns: $(ready)
	OCITOOL_CAMPAIGN=yes $(pytest) -m campaign $(ARGS)

lint: $(ready)
	$(python) -m ruff check --no-cache .
	$(python) -m ruff format --check .

types: $(ready)
	$(python) -m mypy

image: $(ready)
	$(python) testdata/image/build.py $(ARGS)

bench: $(ready)
	$(python) -m tests.benchmarks $(ARGS)

conformance: $(ready)
	$(python) -m tests.conformance.drivers $(ARGS)

crash: $(ready)
	$(python) -m tests.crash $(ARGS)

corruption: $(ready)
	$(python) -m tests.crash corruption $(ARGS)

soak: $(ready)
	$(python) -m tests.crash soak $(ARGS)

fuzz: $(ready)
	$(python) -m tests.fuzz $(ARGS)

projects: $(ready)
	OCITOOL_CAMPAIGN=yes OCITOOL_PROJECTS=yes $(python) -m pytest tests/integration/test_projects.py $(ARGS)

docs: $(ready)
	$(python) docs/generate.py
	$(python) docs/quotes.py
	$(python) docs/migrate.py

clean:
	rm -rf $(VENV) .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(python) -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@
