PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Django without a server: its settings, and a data directory that nobody keeps.
DJANGO = CPM_DATA=$$(mktemp -d) DJANGO_SETTINGS_MODULE=cpm.config.settings $(BIN)/python

.PHONY: setup demo test check bench openapi migrations lock clean

setup: $(READY)

$(READY): requirements.lock bootstrap.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r bootstrap.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: setup
	$(BIN)/cpm demo

# One process more than there are processors: some tests wait for others.
test: setup
	$(BIN)/python -m pytest --numprocesses $$(($$(nproc) + 1)) --dist loadfile

bench: setup
	$(BIN)/python -m bench

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/meta tests/api/test_schema.py

openapi: setup
	$(DJANGO) -m cpm.api.openapi_file > docs/openapi.yaml
	$(DJANGO) -m cpm.api.operations_file > docs/operations.md

migrations: setup
	$(DJANGO) -m django makemigrations cpm

lock: setup
	$(BIN)/uv lock --quiet --upgrade
	$(BIN)/uv export --quiet --format requirements-txt --no-emit-project --no-header -o requirements.lock

clean:
	rm -rf .venv
