# make run: the demo. make test: the tests. make check: lint, types, import contracts.
# make docs: the documentation as a site, build/site/index.html.
# make lock: renew constraints.txt. Each makes .venv first where it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check docs lock clean

run: .venv/.run
	$(BIN)/chromaflow demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.dev
	$(BIN)/python -m flows.cli.reference > docs/commands.md
	$(BIN)/mkdocs build

lock: .venv/.dev
	$(BIN)/pip freeze --exclude-editable > constraints.txt

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	touch $@

clean:
	rm -rf .venv demo
