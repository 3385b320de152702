# CacheRollout: `make help` lists the targets. CI calls the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
UV := .tools/bin/uv
RUN := $(UV) run --frozen --quiet
HELM := .cluster/bin/helm
# Programs that `make cluster-tools` brought; the tests call kubectl and helm.
export PATH := $(CURDIR)/.cluster/bin:$(PATH)
GENERATED := crds charts/cacherollout/files manifests docs/reference

##@ Everyday
.PHONY: help demo demo-plain demo-down test lint format
help: ## Show this help
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*##/ {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: tools cluster-up ## Show a good release promoted and a broken one undone, on a real cluster
	@$(RUN) python examples/demo

demo-plain: tools cluster-up ## Show the same release as a plain rolling update, for comparison
	@$(RUN) python examples/demo --plain

demo-down: cluster-down ## Remove everything that the demo made

test: tools servers lint verify cluster-up ## Run every ring of tests and print one summary
	@$(RUN) python tests/rings.py

lint: tools ## Check style, types and layers
	@$(RUN) ruff check && $(RUN) ruff format --check && $(RUN) mypy && $(RUN) lint-imports

format: tools ## Format the code
	@$(RUN) ruff check --fix --quiet; $(RUN) ruff format

##@ Rings of tests
.PHONY: unit scenario example contract e2e
unit scenario: tools servers ## Run one ring without a cluster
	@$(RUN) python tests/rings.py $@

example contract e2e: tools servers cluster-up ## Run one ring on the real cluster
	@$(RUN) python tests/rings.py $@

.PHONY: bench bench-cache bench-gates
bench: tools cluster-up ## Measure the operator on the real cluster and print each figure beside its goal
	@PYTHONPATH=. $(RUN) python benchmarks/rollouts.py

bench-cache: tools servers ## Measure the cache engine against redis-cli --pipe on the same server
	@$(RUN) python benchmarks/cache.py

bench-gates: tools ## Measure how often the gates are wrong and how fast they are right; writes the table of docs/explanation/gates.md
	@PYTHONPATH=. $(RUN) python -m benchmarks.gates --write docs/explanation/gates.md

##@ Generated
.PHONY: crds manifests docs verify helm-lint
crds: tools ## Write the definitions from the models, also into the chart
	@$(RUN) cacherollout crd --output-dir crds && cp crds/*.yaml charts/cacherollout/files/crds/

manifests: crds $(HELM) ## Write the plain manifests from the chart
	@HELM=$(abspath $(HELM)) manifests/render.sh

docs: tools ## Write the reference pages from the models
	@$(RUN) cacherollout docs --output-dir docs/reference

verify: tools $(HELM) ## Write all that is generated again, and fail where it differed
	@was=$$(mktemp -d); trap "rm -r $$was" EXIT; cp -r --parents $(GENERATED) $$was; $(MAKE) --silent crds manifests docs; for each in $(GENERATED); do diff -ru $$was/$$each $$each; done

helm-lint: crds $(HELM) ## Check the chart
	@$(HELM) lint --strict charts/cacherollout

$(HELM):
	@python3 -m cluster tools

##@ Cluster
.PHONY: cluster-tools cluster-up cluster-down cluster-status
cluster-tools: ## Install or build what a cluster and the tests need
	@python3 -m cluster tools

cluster-up: cluster-tools ## Make the cluster and bring the images into it
	@python3 -m cluster up && python3 -m cluster load-images

cluster-down: ## Remove the cluster without a trace
	@python3 -m cluster down

cluster-status: ## Say whether the cluster is healthy
	@python3 -m cluster status

##@ Tools
.PHONY: tools servers
servers: ## Install the Redis and PostgreSQL that tests start for themselves; no service is started
	@command -v redis-server redis-cli >/dev/null && ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive; apt-get -o DPkg::Lock::Timeout=300 -qq update; apt-get -o DPkg::Lock::Timeout=300 -qq -y install --no-install-recommends redis-server redis-tools postgresql >/dev/null; }

tools: $(UV) ## Install uv and the project's Python environment under .tools and .venv

$(UV):
	@python3 -m pip --version >/dev/null 2>&1 || { apt-get update -qq; apt-get install -qq -y python3-pip >/dev/null; }
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools/uv uv==$(UV_VERSION)
	@mkdir -p .tools/bin && ln -sf ../uv/bin/uv $(UV)
