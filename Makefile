# Everything a developer or a user runs. Needs Python 3.11 to 3.13, make, and a C library.
PYTHON ?= python3
WORKSPACE ?= demo-workspace
UI ?= http://127.0.0.1:4200
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Else each of the hundreds of processes that the tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Two processes, each of which takes whole files of tests.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test coverage lint format bench audit ui down docs screenshots lock clean

help:
	@echo "make demo    set up, then run the whole pipeline on a corpus it generates"
	@echo "make test    set up, then run the tests"
	@echo "make coverage    the same, and which lines no test runs; a tenth slower"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make bench   the benchmarks, side by side with their peers"
	@echo "make audit   look the locked packages up among known vulnerabilities; needs the network"
	@echo "make ui      start the Prefect UI, workers and deployments; WORKSPACE=… on another workspace"
	@echo "make down    stop them"
	@echo "make docs    write the reference pages anew from the code, and the site from all pages"
	@echo "make screenshots  photograph the UI that runs at UI=… on WORKSPACE=… for docs/images"
	@echo "make lock    resolve pyproject.toml into the lock files; UPGRADE=1 takes the newest of all"

# The environment: locked versions, checked hashes. pip brings uv, which installs the rest in about
# half of pip's time; pip does it where uv can't, as with an index that pip alone is told of. The
# CUDA libraries follow only where the build of torch that was found wants them.
LOCKED := --quiet --require-hashes --no-deps --requirement
install = $(BIN)/uv pip install --python .venv --compile-bytecode $(LOCKED) $(1) || $(BIN)/pip install $(LOCKED) $(1)

.venv/installed: requirements.lock requirements-cuda.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "silentmix needs Python 3.11 to 3.13; try make PYTHON=python3.13")'
	@echo "setting up .venv: some GB of locked packages, minutes the first time"
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	$(BIN)/pip install $(LOCKED) .venv/uv.lock
	$(call install,requirements.lock)
	@if $(BIN)/pip show torch | grep -q '^Requires:.*nvidia'; then \
		$(call install,requirements-cuda.lock); fi
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed
	$(BIN)/silentmix demo --workspace $(WORKSPACE)

test: .venv/installed
	$(BIN)/pytest $(IN_TWO)

coverage: .venv/installed
	$(BIN)/pytest $(IN_TWO) --cov --cov-report=
	$(BIN)/coverage report

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed
	@for name in $$(cd benchmarks && ls *.py | sed -e 's/\.py$$//' -e '/^__init__$$/d'); do \
		case $$name in \
			chaos|fuzz) quick=--quick;; manifests) quick="--rows 1000000";; \
			scale) quick="--tracks 1000 --segments 100000";; \
			load) quick="--tracks 10000 --queries 20 --runs 50 --hour-s 0";; *) quick=;; \
		esac; \
		echo "== $$name" && $(BIN)/python -m benchmarks.$$name $$quick || exit 1; done

audit: .venv/installed
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock -r requirements-cuda.lock

ui: .venv/installed
	$(BIN)/silentmix up --workspace $(WORKSPACE)

down: .venv/installed
	$(BIN)/silentmix down --workspace $(WORKSPACE)

docs: .venv/installed
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

screenshots: .venv/installed
	$(BIN)/python docs/screenshots.py $(UI) $(WORKSPACE)

lock: .venv/installed
	$(BIN)/python .ci/lock.py $(if $(UPGRADE),--upgrade)

clean:
	rm -rf .venv
