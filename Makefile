# Two commands: `make demo` runs the main job, `make test` checks everything. Both set up first.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.complete

.PHONY: demo test lint types tests setup lock schema corpus clean

demo: $(SETUP)
	$(BIN)/audiomill run jobs/demo.yaml

test: lint types tests

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(SETUP)
	$(BIN)/mypy

tests: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/pytest

setup: $(SETUP)

# Only what the lock names, each file checked against its hash; then this project, in place.
$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "audiomill needs Python 3.11 or 3.12; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	grep -A 40 '^uv==' requirements.lock | awk 'NR > 1 && !/^    --hash/ {exit} {print}' > .venv/uv.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	touch $@

# After a change of dependencies: pins and hashes anew, without a registry's name in them.
lock: $(SETUP)
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --output-file requirements.lock --quiet

# After a change of a spec model: the JSON Schema that editors check job specs with.
schema: $(SETUP)
	$(BIN)/python -m jobs.spec_schema

# Needs Debian's flite, espeak-ng and sox; the corpus itself is committed.
corpus: $(SETUP)
	$(BIN)/python -m jobs.demo.make_corpus

clean:
	rm -rf .venv build out *.egg-info
