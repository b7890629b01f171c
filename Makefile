# The README's commands. Every target that needs an environment makes or repairs it first.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-train setup-deploy setup-ray run test test-train test-deploy chaos fuzz audit sbom check format bench clean constraints constraints-train constraints-ray openapi

help:  ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Make both environments, .venv (server, tests) and .engine (vLLM), or repair them.
	@$(PYTHON) deploy/environments/install.py all

setup-train:  ## Make .train, the environment of `cap-train`, or repair it.
	@$(PYTHON) deploy/environments/install.py train

setup-deploy:  ## Make .deploy, the tools that check and run what is in deploy/, or repair them.
	@$(PYTHON) deploy/environments/install.py deploy

setup-ray:  ## Make .ray, the environment of `cap bulk` and deploy/ray, or repair it.
	@$(PYTHON) deploy/environments/install.py ray

run: setup  ## Start vLLM with the small CaP model, and the server; print a request to try.
	@exec $(BIN)/cap up

test: setup setup-train setup-deploy  ## Run all tests, those against the real vLLM among them.
	@.train/bin/python -m pytest tests/training
	@$(BIN)/python -m pytest --ignore=tests/training -n 2 --dist loadgroup \
	  --cov --cov-report=term:skip-covered --cov-fail-under=90

test-train: setup setup-train  ## Training's tests, the long ones too: a whole recipe in small, served by vLLM.
	@CAP_TEST_TRAIN=1 .train/bin/python -m pytest tests/training

test-deploy: setup-deploy setup-ray  ## Run what is in deploy/: images, attacks, replicas, Ray. Needs root, podman.
	@$(PYTHON) deploy/environments/install.py server
	@CAP_TEST_DEPLOY=1 .ray/bin/python -m pytest tests/deploy/ray --durations=20
	@CAP_TEST_DEPLOY=1 $(BIN)/python -m pytest tests/deploy --ignore=tests/deploy/ray --durations=20

chaos: setup  ## Real servers under load while everything that can go wrong does (docs/chaos.md).
	@CAP_TEST_CHAOS=1 $(BIN)/python -m pytest tests/chaos tests/server/test_shutdown.py
	@$(BIN)/python -m tests.chaos --write

fuzz:  ## 20,000 requests made from the schema, at a real server: make fuzz [SEED=7] [CASES=20000]
	@$(PYTHON) deploy/environments/install.py server
	@$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(CASES),--cases $(CASES))

check:  ## Format, lint and types, of code and tests.
	@$(PYTHON) deploy/environments/install.py server
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format:  ## Format the code and fix what the linter can.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## Measure; tables and plots go into docs/. ONLY=peers for one; FILE=recordings.jsonl.gz.
	@$(BIN)/python benchmarks/everything.py $(ONLY:%=--only %)
	@if [ -n "$(FILE)" ]; then $(BIN)/python benchmarks/recorded_gsm8k.py "$(FILE)"; fi

audit: setup-deploy  ## Look up known vulnerabilities of every pinned version. Needs the network.
	@for each in constraints*.txt; do \
	  .deploy/bin/pip-audit --strict --no-deps --disable-pip --requirement $$each || exit 1; done

sbom: setup-deploy  ## Write what is in the images to dist/, as CycloneDX bills of materials.
	@$(PYTHON) deploy/environments/install.py server
	@$(BIN)/python deploy/environments/sbom.py dist

openapi:  ## Write down the API as the server describes it now, for the TypeScript client.
	@$(BIN)/cap openapi > clients/typescript/openapi.json

constraints:  ## Write down the versions that are installed now.
	@( echo '# Exact versions that `make setup` installs and the tests ran with. Made by `make constraints`.'; \
	  $(BIN)/pip list --format=freeze --exclude cap-refine --exclude pip --exclude setuptools ) > constraints.txt

# Of two builds of the same torch, for CPUs and for GPUs, the version without the build is both.
constraints-train:  ## The same for what .train has beyond that.
	@( echo '# Exact versions that `make setup-train` adds to constraints.txt. Made by `make constraints-train`.'; \
	  .train/bin/pip list --format=freeze --exclude cap-refine --exclude pip --exclude setuptools \
	  | sed 's/+cpu$$//' | grep -vxFf constraints.txt ) > constraints-train.txt

constraints-ray:  ## The same for what .ray has beyond that.
	@( echo '# Exact versions that `make setup-ray` adds to constraints.txt. Made by `make constraints-ray`.'; \
	  .ray/bin/pip list --format=freeze --exclude cap-refine --exclude pip --exclude setuptools \
	  | grep -vxFf constraints.txt ) > constraints-ray.txt

clean:  ## Remove the environments, the engine's log and cache, and what tools left behind.
	rm -rf .venv .engine .train .deploy .ray .state .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
