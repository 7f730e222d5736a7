PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
export PYTHONPATH := tests

.PHONY: book serve lab lab-zh test bench exercises outputs stamp

book: .venv/ready
	@$(BIN)/insidegpt site

serve: book
	@$(BIN)/insidegpt serve

lab lab-zh: .venv/ready
	JUPYTER_CONFIG_PATH=src/insidegpt/assets/$@ $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/exercises

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest tests
	$(BIN)/pytest --nbval --nbval-current-env book

bench: .venv/ready
	$(BIN)/python benchmarks/page_weight.py

exercises: .venv/ready
	$(BIN)/python -m insidegpt.grading.release

outputs: .venv/ready
	$(BIN)/python -m insidegpt.site.outputs book/*.ipynb

stamp: .venv/ready
	$(BIN)/python -m insidegpt.site.pairs --stamp book/*.ipynb solutions/*/*.ipynb

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) src/insidegpt/bootstrap.py && touch $@
