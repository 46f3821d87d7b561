# `make` lists what there is to make.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help new-stack adopt user drift reconcile backups restore postgresql-upgrade lab lab-down test test-unit test-e2e test-slow check format docs lock bench

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28

new-stack: ## settings for another environment: make new-stack STACK=prod
	@tools/new-stack.sh "$(STACK)"

adopt: ## take over a homeserver that was built by hand: make adopt STACK=prod
	@STACK="$(STACK)" CONFIG="$(CONFIG)" tools/adopt.sh

user: ## an account on a stack's server, with a password of its own: make user STACK=prod NAME=alice [ADMIN=yes] [RESET=yes: a new password]
	@STACK="$(STACK)" NAME="$(NAME)" ADMIN="$(ADMIN)" RESET="$(RESET)" tools/user.sh

drift: ## what on a stack's machine is not as the stack says, changing nothing: make drift STACK=prod (tools/drift.sh ends with 0: nothing, 2: drift found, 1: could not look)
	@STACK="$(STACK)" tools/drift.sh

reconcile: ## put right what drift names, and nothing else: make reconcile STACK=prod [YES=yes]
	@STACK="$(STACK)" YES="$(YES)" tools/reconcile.sh

backups: ## list a stack's backups: make backups STACK=prod
	@STACK="$(STACK)" tools/backups.sh

restore: ## put a backup onto a stack's machine: make restore STACK=prod FROM=file.tar.gpg (or s3://...)
	@STACK="$(STACK)" FROM="$(FROM)" FORCE="$(FORCE)" tools/restore.sh

postgresql-upgrade: ## bring a stack's PostgreSQL to a newer major version: make postgresql-upgrade STACK=prod TO=16
	@STACK="$(STACK)" TO="$(TO)" CHECK="$(CHECK)" tools/postgresql-upgrade.sh

lab: ## deploy to a throw-away host on this machine, and prove that a client can use it (root, Linux)
	@lab/demo.sh

lab-down: ## end the throw-away hosts and remove every trace of them
	@lab/lab.sh down --all
	@rm -rf .lab/state

test: ## all tests: what needs no host, then a real deployment to lab hosts (root, Linux)
	@test/run.sh unit e2e

test-unit: ## the tests that need no host
	@test/run.sh unit

test-e2e: ## the tests that deploy to lab hosts
	@test/run.sh e2e

test-slow: ## updates of lab hosts that are cut off wherever they are
	@test/run.sh slow

bench: ## measured comparisons, with WHAT= one of them: make bench WHAT=first-deployment ROUNDS=3
	@ROUNDS="$(or $(ROUNDS),3)" bench/run.sh "$(WHAT)"

check: node_modules/.package-lock.json ## types, lint, format and shell scripts
	npx tsc --noEmit
	npx tsx docs/settings.ts --check
	npx eslint --max-warnings 0 .
	npx prettier --check --log-level warn .
	lab/shellcheck.sh

format: node_modules/.package-lock.json ## rewrite the TypeScript files in the project's format
	npx prettier --write --log-level warn .

docs: node_modules/.package-lock.json ## rewrite docs/settings.md and Pulumi.yaml's settings from their schema
	npx tsx docs/settings.ts

lock: ## pin what a release of Synapse needs: make lock VERSION=1.163.2 [PYTHON=3.10]
	@requirements/lock.sh "$(VERSION)" $(PYTHON)

node_modules/.package-lock.json: package.json package-lock.json
	@npm ci --silent
	@touch $@
