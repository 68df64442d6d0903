PYTHON ?= python3
ARGS ?=

.PHONY: run test lint lock

# The environment: every version and hash from requirements/dev.txt, then the project itself, editable.
.venv: .venv/.made
.venv/.made: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
