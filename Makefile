# make demo, make test and the rest; everything happens in .venv, which `make clean` removes.

PYTHON ?= python3
.DEFAULT_GOAL := help

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## LeNet-5 on 5,000 real digits; leaves its results in out/
	@sh scripts/venv.sh "$(PYTHON)" demo
	@.venv/bin/python examples/digits.py --out out --seed 0

test: ## install what tests need and run them
	@sh scripts/venv.sh "$(PYTHON)" test,demo
	@.venv/bin/python -m pytest -n 2 --dist worksteal

test-long: ## the tests that take minutes
	@sh scripts/venv.sh "$(PYTHON)" test,demo
	@.venv/bin/python -m pytest -m long

test-torch: ## comparisons with PyTorch, which is installed for it
	@sh scripts/venv.sh "$(PYTHON)" test,demo,torch
	@.venv/bin/python -m pytest -n 2 -m torch

lint: ## format, lint and types
	@sh scripts/venv.sh "$(PYTHON)" test,demo,dev
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/pyright

wheel: ## build sdist and wheel, and test the wheel in an empty environment
	@sh scripts/venv.sh "$(PYTHON)" test,demo,dev
	@sh scripts/wheel.sh "$(PYTHON)"

clean: ## remove everything that the others made
	rm -rf .venv out build dist nervure.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test test-long test-torch lint wheel clean
