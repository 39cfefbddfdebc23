# Two commands: `make demo` runs the main job, `make test` checks everything. Both set up first.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.complete
# The one source build, as in the extra `eval`: without a C compiler the rest works all the same.
PESQ := pesq==0.0.4 --hash=sha256:b724b28f73fb638522982bd68e8c3c0957e2f45210639a460233b17aa7fc890b

.PHONY: demo test lint types tests setup lock schema corpus clean

demo: $(SETUP)
	$(BIN)/audiomill run jobs/demo.yaml
	rm -rf out/demo-train
	$(BIN)/audiomill train jobs/pretrain-tiny.yaml steps=20 output=out/demo-train
	@$(BIN)/python -c 'import json; \
		losses = [json.loads(line)["loss"] for line in open("out/demo-train/log.jsonl")]; \
		first, last = sum(losses[:2]) / 2, sum(losses[-2:]) / 2; \
		len(losses) == 20 and last < 0.8 * first or exit( \
			f"the loss did not fall in {len(losses)} steps: {first:.3f} in the first 2, {last:.3f} in the last 2")'

test: lint types tests

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(SETUP)
	$(BIN)/mypy

# Rooms without Ray two files at a time; what starts a Ray of its own one after the other.
ALONGSIDE := tests/schemas tests/stages tests/tokenizer tests/model tests/parity

tests: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile $(ALONGSIDE)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(addprefix --ignore=,$(ALONGSIDE))

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
	@if command -v cc >/dev/null; then \
		echo '$(PESQ)' > .venv/pesq.lock; \
		$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --require-hashes \
			--build-constraints requirements.lock -r .venv/pesq.lock \
			|| echo 'pesq did not build: tokenizer eval will leave PESQ out'; \
	fi
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
