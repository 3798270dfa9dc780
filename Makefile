# Every target creates .venv from the lock file first, and needs nothing but Python 3.11+, make and git.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test test-fast test-faults soak check docs bench bench-peers bench-sweeps bench-scale lock

help: ## What there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready ## Create .venv with exactly the locked versions

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup ## Search four schedules on Fashion-MNIST, on every core, and compare them
	@$(BIN)/fmnist-lab data && data=fashion_mnist || { data=synthetic; \
	  echo; echo '*** No source of Fashion-MNIST works here: the demo goes on with SYNTHETIC images. ***'; echo; }; \
	$(BIN)/fmnist-lab sweep demo data=$$data
	@$(BIN)/fmnist-lab compare demo
	@echo "Draw other schedules with:  $(BIN)/fmnist-lab preview"
	@echo "Train another one with:     $(BIN)/fmnist-lab train scheduler=cosine"

test: setup ## Run the tests, the examples of the documentation among them
	$(BIN)/python -m pytest

test-fast: setup ## Run the tests that train nothing and start no process or server, in one to two minutes on two cores
	$(BIN)/python -m pytest --numprocesses auto -m "not slow and not faults and not soak"

test-faults: setup ## Kill processes of sweeps at random, a hundred times in all
	$(BIN)/python -m pytest -m faults

soak: setup ## Let everything around a sweep fail for an hour, and see that nothing is missing
	$(BIN)/python -m pytest -m soak -n0 -s

check: setup ## Lint, check types, imports and YAML, look dependencies up among known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint --strict conf sweeps .yamllint.yaml
	@find tests -name 'test_*.py' | awk -F/ 'first[$$NF] { print "pytest cannot collect two files of one name: " first[$$NF] \
	  " and " $$0 "."; twice = 1 } { first[$$NF] = $$0 } END { exit twice }'
	$(BIN)/python -m tools.audit

docs: setup ## Build the documentation into site/, and check its links
	$(BIN)/python -m docs.options
	$(BIN)/zensical build --strict --clean

bench: setup ## Time the compiled engine against model.fit
	$(BIN)/python -m benchmarks.epochs

bench-peers: setup ## Time whole sweeps against those of other tools, each in an environment of its own
	$(BIN)/python -m benchmarks.peers

bench-sweeps: setup ## Time a trial's overhead, and see what pruning saves
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.pruning

bench-scale: setup ## See what a sweep of 10,000 trials costs, its comparison and each suggestion
	$(BIN)/python -m benchmarks.scale --untrained
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.samplers

lock: setup ## Resolve the newest allowed versions into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --no-emit-index-url --quiet --upgrade --output-file requirements.lock
