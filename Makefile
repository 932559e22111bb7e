# `make` alone lists the targets. Where there is no make: python3 scripts/dev.py run|test|…
PYTHON ?= python3
DEV := $(PYTHON) scripts/dev.py

.DEFAULT_GOAL := help
.PHONY: help run test lint bench faults soak setup stop reset upgrade lock

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: ## serve the gateway at http://127.0.0.1:5000 (in the sandbox until credentials are set)
	@$(DEV) run

test: ## run all checks and tests (ARGS="-k name" runs pytest alone)
	@$(DEV) test $(ARGS)

lint: ## run the checks without the tests
	@$(DEV) lint

bench: ## measure against a bare route (ARGS="…" goes to the benchmarks)
	@$(DEV) bench $(ARGS)

faults: ## prove under fire that no order is sent twice and none is lost (half an hour)
	@$(DEV) faults $(ARGS)

soak: ## ten minutes under load with a rolling restart every minute (ARGS="--minutes 1 --every 15")
	@$(DEV) soak $(ARGS)

setup: ## only install: virtual environment, locked packages, .env
	@$(DEV) setup

stop: ## end the gateway on PORT (ARGS=--all: every one of this folder)
	@$(DEV) stop $(ARGS)

reset: ## delete the database, logs and caches, after a question (ARGS=--all: also .env and .venv)
	@$(DEV) reset $(ARGS)

upgrade: ## fetch the newest version, install what it needs, migrate the database
	@$(DEV) upgrade

lock: ## write the locked requirements anew from pyproject.toml
	@$(DEV) lock
