# CacheRollout: `make help` lists the targets. CI calls the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
UV := .tools/bin/uv
RUN := $(UV) run --frozen --quiet

##@ Everyday
.PHONY: help tools lint verify
help: ## Show this help
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: $(UV) ## Install uv and the project's Python environment under .tools and .venv

$(UV):
	@python3 -m pip --version >/dev/null 2>&1 || { apt-get update -qq; apt-get install -qq -y python3-pip >/dev/null; }
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools/uv uv==$(UV_VERSION)
	@mkdir -p .tools/bin && ln -sf ../uv/bin/uv $(UV)
