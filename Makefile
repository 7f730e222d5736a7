PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
export PYTHONPATH := tests

.PHONY: book serve lab exercises outputs grade test lint

book: .venv/ready
	@$(BIN)/insidegpt site

serve: book
	@$(BIN)/insidegpt serve

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) src/insidegpt/bootstrap.py && touch $@
