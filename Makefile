PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
export PYTHONPATH := tests
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: book ebooks serve lab lab-zh test bench exercises outputs stamp

book: .venv/ready
	@$(BIN)/insidegpt site

ebooks: .venv/ready
	@$(BIN)/insidegpt ebooks

serve: book
	@$(BIN)/insidegpt serve

lab lab-zh: .venv/ready
	@mkdir -p my && cp -Rn exercises/. my/ || true
	JUPYTER_CONFIG_PATH=src/insidegpt/assets/$@ $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/my

# One thread a process: what the tests compute is small, and handing it out takes longer.
test: export OMP_NUM_THREADS := 1
test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest tests -n 2 --dist loadfile
	JUPYTER_DEFAULT_PROVISIONER_NAME=insidegpt-warm $(BIN)/pytest --nbval --nbval-current-env book

bench: .venv/ready
	$(BIN)/python benchmarks/page_weight.py
	$(BIN)/python benchmarks/story_gpt2.py
	$(BIN)/python benchmarks/perplexity.py
	$(BIN)/python benchmarks/divergence.py
	$(BIN)/python benchmarks/grading.py
	$(BIN)/python benchmarks/grading.py --chapter masking

exercises: .venv/ready
	$(BIN)/python -m insidegpt.grading.release

outputs: .venv/ready
	$(BIN)/python -m insidegpt.site.outputs book/*.ipynb

stamp: .venv/ready
	$(BIN)/python -m insidegpt.site.pairs --stamp book/*.ipynb solutions/*/*.ipynb

.venv/ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11, or name it with PYTHON=… · 找不到 $(PYTHON)：请安装 Python 3.11，或用 PYTHON=… 指定。"; exit 1; }
	@$(PYTHON) src/insidegpt/bootstrap.py && touch $@
