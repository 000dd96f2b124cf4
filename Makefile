# Tradewind: everything a person types. Python 3.11 or newer and make are all that a machine needs.
# `make` alone, or `make help`, lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .tradewind/venv/bin
PIN_FILES := requirements-dev.txt $(wildcard layers/*/requirements.txt) infra/local/requirements.txt \
             infra/local/package.json infra/local/package-lock.json infra/local/install.py
INSTALLED := .tradewind/installed
TYPED := layers/shared/python functions infra tests
FAST_TESTS := tests/unit tests/contract
PARALLEL_TESTS := $(FAST_TESTS) tests/infra tests/integration

export PYTHONPATH := functions:layers/shared/python:.
export JSII_RUNTIME_PACKAGE_CACHE_ROOT := $(CURDIR)/.tradewind/cache/jsii

.PHONY: help install up down status demo test fairness chaos bench bench-report check lint format tasks run runs replay pause resume \
        verify-ads pauses drain remove-tenant privacy tenant credentials api-key smoke doctor build image \
        cost email-preview mail-storm

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Install what the project needs into .tradewind/ (every target does so by itself).

$(INSTALLED): $(PIN_FILES)
	@$(PYTHON) infra/local/install.py
	@touch $@

up: $(INSTALLED)  ## Start the local cloud and leave it running [DOMAINS=commerce,loyalty] [TRADEWIND_PORT=4566].
	@$(VENV)/python -m infra.local up $(if $(DOMAINS),--domains $(DOMAINS))

down:  ## Stop the local cloud.
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m infra.local down; else echo "No local cloud runs."; fi

status: $(INSTALLED)  ## Print the addresses of the running local cloud.
	@$(VENV)/python -m infra.local status

demo: $(INSTALLED)  ## Run order sync on real purchases in a local cloud of its own, and verify the result.
	@$(VENV)/python -m infra.local.demo

test: $(INSTALLED)  ## Run every suite, the end-to-end ones included.
	@$(VENV)/python -m pytest -q -n 2 --dist loadscope $(PARALLEL_TESTS)
	@$(VENV)/python -m pytest -q -n 2 --dist loadscope tests/e2e
	@FAIRNESS_SIZE=small $(VENV)/python -m pytest -q tests/fairness
	@CHAOS_SIZE=small CHAOS_SEED=$(or $(CHAOS_SEED),7) $(VENV)/python -m pytest -q tests/chaos

bench: $(INSTALLED)  ## Measure: cold starts, kernel, receiver, dispatch, order sync, e-mails [ONLY=kernel,work MEASURED=1].
	@$(VENV)/python -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(MEASURED),--write-measured)

bench-report: $(INSTALLED)  ## Draw what the last bench has measured.
	@$(VENV)/python -m tests.bench --report

fairness: $(INSTALLED)  ## Flood the queues while one tenant sends a little [FAIRNESS_SIZE=huge].
	@FAIRNESS_SIZE=$(or $(FAIRNESS_SIZE),large) $(VENV)/python -m pytest -q -s tests/fairness

chaos: $(INSTALLED)  ## Break everything while 10,000 webhooks come in, and compare the tables [CHAOS_SEED=7 CHAOS_SIZE=medium].
	@CHAOS_SIZE=$(or $(CHAOS_SIZE),large) CHAOS_SEED=$(CHAOS_SEED) $(VENV)/python -m pytest -q -s tests/chaos

check: lint  ## Format, lint, types, import contracts, unit and contract tests.
	@$(VENV)/python -m pytest -q $(FAST_TESTS)

lint: $(INSTALLED)  ## Format, lint, types and import contracts, without a test.
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy $(TYPED)
	@$(VENV)/lint-imports --cache-dir .tradewind/cache/import-linter

format: $(INSTALLED)  ## Format the code and repair what the linter can.
	@$(VENV)/ruff check --fix-only --quiet .
	@$(VENV)/ruff format .

tasks: $(INSTALLED)  ## Print every task and schedule, one JSON object a line.
	@$(VENV)/python -m tradewind.tasks

run: $(INSTALLED)  ## Run one task: TASK=commerce-sync-order TENANT=acme EVENT=events/commerce/commerce-sync-order.json [FORCE=1]
	@$(VENV)/python -m infra.operate run --task "$(TASK)" --tenant "$(TENANT)" --event "$(EVENT)" $(if $(FORCE),--force)

runs: $(INSTALLED)  ## Find runs with their errors: [TENANT=] [TASK=] [STATE=failed] [ORDER=1001] [CORRELATION=] [ERROR=] [SINCE=] [UNTIL=]
	@$(VENV)/python -m infra.operate runs --tenant "$(TENANT)" --task "$(TASK)" --state "$(STATE)" --entity "$(ORDER)" \
		--correlation-id "$(CORRELATION)" --error-class "$(ERROR)" --since "$(SINCE)" --until "$(UNTIL)"

replay: $(INSTALLED)  ## Replay dead letters: [TENANT=] [TASK=] [ERROR=] [SINCE=] [UNTIL=] [RATE=10 a second] [DRY_RUN=1]
	@$(VENV)/python -m infra.operate replay --tenant "$(TENANT)" --task "$(TASK)" --error-class "$(ERROR)" \
		--since "$(SINCE)" --until "$(UNTIL)" $(if $(RATE),--rate $(RATE)) $(if $(DRY_RUN),--dry-run)

pause: $(INSTALLED)  ## Pause: [TENANT=acme] [TASK=commerce-sync-order] or SCHEDULE=..., and REASON="..."
	@$(VENV)/python -m infra.operate pause --tenant "$(TENANT)" --task "$(TASK)" --schedule "$(SCHEDULE)" --reason "$(REASON)"

resume: $(INSTALLED)  ## Resume: [TENANT=acme] [TASK=commerce-sync-order] or SCHEDULE=...
	@$(VENV)/python -m infra.operate resume --tenant "$(TENANT)" --task "$(TASK)" --schedule "$(SCHEDULE)"

pauses: $(INSTALLED)  ## List what is paused, by whom and why.
	@$(VENV)/python -m infra.operate pauses

drain: $(INSTALLED)  ## Wait until nothing is left to work; of what is paused, until nothing is at work: [TENANT=] [TASK=]
	@$(VENV)/python -m infra.operate drain --tenant "$(TENANT)" --task "$(TASK)"

remove-tenant: $(INSTALLED)  ## Delete a tenant with everything that it has: TENANT=acme CONFIRM=acme REASON="..."
	@$(VENV)/python -m infra.operate remove-tenant --tenant "$(TENANT)" --confirm "$(CONFIRM)" --reason "$(REASON)"

privacy: $(INSTALLED)  ## List privacy requests and where their exports lie: [TENANT=] [STATE=open]
	@$(VENV)/python -m infra.operate privacy --tenant "$(TENANT)" --state "$(STATE)"

tenant: $(INSTALLED)  ## Register a tenant: SLUG=acme SHOP=acme.myshopify.com, its secrets as JSON on standard input.
	@$(VENV)/python -m infra.operate tenant --slug "$(SLUG)" --shop "$(SHOP)"

credentials: $(INSTALLED)  ## Store a provider's secrets: TENANT=acme PROVIDER=resend [APP=its account or export], JSON on standard input.
	@$(VENV)/python -m infra.operate credentials --tenant "$(TENANT)" --provider "$(PROVIDER)" --app "$(APP)"

api-key: $(INSTALLED)  ## Make a tenant's API key: TENANT=acme NAME=shop SCOPES=events:publish,runs:read; ROTATE=id, REVOKE=id, or none to list.
	@$(VENV)/python -m infra.operate api-key --tenant "$(TENANT)" --name "$(NAME)" --scopes "$(SCOPES)" \
	    --rotate "$(ROTATE)" --revoke "$(REVOKE)"

smoke: $(INSTALLED)  ## See representative tasks through and print what each did [STAGE=local] [TENANT=acme].
	@$(VENV)/python -m infra.smoke

verify-ads: $(INSTALLED)  ## Have ad platforms look at an order's purchase: TENANT=acme ORDER=5401 [META_CODE= TIKTOK_CODE= STAGE=local].
	@$(VENV)/python -m infra.smoke.ads

doctor: $(INSTALLED)  ## Check a stage from settings to migrations, changing nothing [STAGE=local].
	@$(VENV)/python -m infra.doctor

build: $(INSTALLED)  ## Fetch and compile what a deployment to AWS uploads.
	@$(VENV)/python -m infra.build

image: $(INSTALLED)  ## Build the training container's image with Docker and push it [STAGE=dev].
	@$(VENV)/python -m infra.image --stage $(or $(STAGE),dev)

cost: $(INSTALLED)  ## Print what a million orders and an idle month cost [STAGE=dev TENANTS=10 LEAN=1 QUIET=1].
	@$(VENV)/python -m infra.cost --stage "$(or $(STAGE),dev)" --tenants "$(or $(TENANTS),10)" $(if $(LEAN),--lean) $(if $(QUIET),--quiet)

mail-storm: $(INSTALLED)  ## Send 100,000 review e-mails while the provider fails and workers die [MAIL_SIZE=medium].
	@MAIL_SIZE=$(or $(MAIL_SIZE),large) $(VENV)/python -m pytest -q -s tests/integration/test_mail_storm.py

report-preview: $(INSTALLED)  ## Render the weekly summary and a profit and loss into .tradewind/report-preview/.
	@$(VENV)/python -m infra.local.report_preview

email-preview: $(INSTALLED)  ## Render every review e-mail into .tradewind/email-preview/, with a page to leaf through.
	@$(VENV)/python -m infra.local.email_preview
