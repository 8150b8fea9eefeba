# The commands of this checkout. All state and models go to .headrace/, the environment to .venv/.

BIN := .venv/bin
HEADRACE_HOME ?= $(CURDIR)/.headrace
export HEADRACE_HOME PYTHON

.PHONY: help up test test-web test-vllm images check lint format lock web rollback release-check release-files chaos fuzz soak bench bench-gateway bench-bert simulate clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Start the whole platform on this machine (ARGS="--port 9000")
	@scripts/bootstrap.sh local
	@scripts/web.sh || echo "headrace: going on without the page" >&2
	@$(BIN)/headrace models pull demo
	@exec $(BIN)/headrace up $(ARGS)

test: ## Everything: lint, then all tests (ARGS="-k name")
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace models pull demo
	@$(MAKE) --no-print-directory lint
	@scripts/web.sh test
	@$(BIN)/python -m pytest -m "not images and not browser and not chaos" $(ARGS)

test-web: ## The page in a real Chromium, on the whole platform (needs Debian's chromium)
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace models pull demo
	@scripts/web.sh
	@$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-vllm: ## The worker contract on real vLLM, on this CPU (Linux x86-64, Python 3.11; 3 GB)
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace models pull demo
	@scripts/vllm.sh || [ $$? = 3 ]
	@if [ -f .venv-vllm/headrace.sha256 ]; then export HEADRACE_TEST_VLLM=$(CURDIR)/.venv-vllm; fi; \
		$(BIN)/python -m pytest -m wheel tests/contract tests/workers/vllm $(ARGS)

images: ## Build the container images that need no base from elsewhere, and try them (buildah, root; 4 GB)
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace models pull demo
	@$(BIN)/python -m scripts.images $(IMAGES)
	@$(BIN)/python -m pytest -m images tests/deploy $(ARGS)

check: ## The two-minute loop: lint, and the tests that start no engine
	@scripts/bootstrap.sh dev
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -m "not e2e and not gpu and not wheel and not images" $(ARGS)

lint: ## Style, types and the direction of imports
	@scripts/bootstrap.sh dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: ## Rewrite the sources in the house style
	@scripts/bootstrap.sh dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## Write requirements/ anew (ARGS=--upgrade for newer versions)
	@scripts/bootstrap.sh dev
	@scripts/lock.sh $(ARGS)

web: ## Build the page into web/dist/
	@scripts/bootstrap.sh local
	@scripts/web.sh

rollback: ## Take an image of an environment back: ENV=staging IMAGE=router [TAG=v1.2.2]
	@python3 -m scripts.rollback $(ENV) $(IMAGE) $(TAG)

release-check: ## Whether a tag, the package, the chart and the changelog agree (ARGS=v1.2.3)
	@scripts/bootstrap.sh dev
	@$(BIN)/python -m scripts.release check $(ARGS)

release-files: ## The chart, the wheel and the notes of a release into dist/ (ARGS=v1.2.3)
	@scripts/bootstrap.sh dev
	@$(BIN)/python -m scripts.release files $(ARGS)

chaos: ## Everything that may break, broken, with new chances each time (ROUNDS=3, SEED=number replays one)
	@scripts/bootstrap.sh dev
	@for round in $$(seq $(if $(SEED),1,$(or $(ROUNDS),3))); do \
		SEED=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} && echo "==> round $$round: make chaos SEED=$$SEED" && \
		SEED=$$SEED HEADRACE_TEST_SLOW_READERS=1000 $(BIN)/python -m pytest tests/chaos $(ARGS) || exit 1; unset SEED; done

fuzz: ## Made-up bytes for the parser, the event splitter and the resume splicer (EXAMPLES=5000, ARGS="--hypothesis-seed=1")
	@scripts/bootstrap.sh dev
	@EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --hypothesis-profile=long tests/fuzz tests/wire/test_connection_properties.py tests/wire/test_upstream.py \
		tests/wire/test_relay_properties.py tests/router/resume/test_properties.py tests/router/resume/test_seam.py $(ARGS)

soak: ## Half an hour at 70 % load with churn: is all flat? (ARGS="--minutes 3")
	@scripts/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.soak $(ARGS)

bench: ## docs/benchmarks.md: beside nginx, LiteLLM, vllm-router, sglang-router, and how cost grows (12 minutes)
	@scripts/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.report $(ARGS)

bench-gateway: ## CPU per request and per chunk, against nginx
	@scripts/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.gateway $(ARGS)

bench-bert: ## Embeddings per second, beside sentence-transformers and infinity (3 GB; Linux on x86-64, Python 3.11)
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace models pull demo
	@scripts/peers.sh || [ $$? = 3 ]
	@$(BIN)/python -m benchmarks.bert $$([ ! -f .venv-rivals-bert/headrace.sha256 ] || echo --peers .venv-rivals-bert) $(ARGS)

simulate: ## The fleet simulator's report, docs/simulator.md (ARGS="--held-out"; about 5 minutes)
	@scripts/bootstrap.sh dev
	@$(BIN)/headrace simulate --report docs/simulator.md $(ARGS)

clean: ## Remove what the other commands made, models and state included
	rm -rf .venv .venv-vllm .venv-rivals .venv-rivals-bert .venv-aiperf .headrace .cache .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis \
		.import_linter_cache dist build web/dist web/node_modules
