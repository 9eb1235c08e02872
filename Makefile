# make demo, make test and the rest; everything happens in .venv, which `make clean` removes.

# empty: scripts/venv.sh looks for one that is new enough
PYTHON ?=
.DEFAULT_GOAL := help

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## LeNet-5 on 5,000 real digits, an LSTM on real text; leaves its results in out/
	@sh scripts/venv.sh demo "$(PYTHON)"
	@.venv/bin/python examples/digits.py --out out --seed 0
	@.venv/bin/python examples/char_lm.py --out out

test: ## install what tests need and run them
	@sh scripts/venv.sh test,demo "$(PYTHON)"
	@.venv/bin/python -m pytest -n 2 --dist worksteal

test-long: ## the tests that take minutes
	@sh scripts/venv.sh test,demo "$(PYTHON)"
	@.venv/bin/python -m pytest -m long

test-torch: ## comparisons with PyTorch, which is installed for it; a skip fails
	@sh scripts/venv.sh test,demo,torch "$(PYTHON)"
	@PYTHONPATH=scripts .venv/bin/python -m pytest -p no_skips -n 2 -m torch tests/

PYTHONS ?=
test-pythons: ## the call and the threads under Python 3.11 to 3.13, as far as they are here, or PYTHONS='python3.12 ...'
	@sh scripts/pythons.sh $(PYTHONS)

bench: ## nervure and every CPU runtime that installs, one and two threads
	@sh scripts/venv.sh test,demo,bench "$(PYTHON)"
	@sh scripts/peers.sh
	@.venv/bin/python -m benchmarks

bench-quick: ## nervure against onnxruntime, one thread, under 3 minutes
	@sh scripts/venv.sh test,demo "$(PYTHON)"
	@.venv/bin/python -m benchmarks --peer nervure --peer onnxruntime --threads 1 --seconds 1 --inference

lint: ## format, lint and types
	@sh scripts/venv.sh test,demo,dev "$(PYTHON)"
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m pyright --pythonpath .venv/bin/python

docs: ## the site, in build/docs
	@sh scripts/venv.sh test,demo,docs "$(PYTHON)"
	@.venv/bin/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

wheel: ## build sdist and wheel, and test the wheel in an empty environment
	@sh scripts/venv.sh test,demo,dev "$(PYTHON)"
	@sh scripts/wheel.sh

clean: ## remove everything that the others made
	rm -rf .venv out build dist nervure.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test test-long test-torch test-pythons bench bench-quick lint docs wheel clean
