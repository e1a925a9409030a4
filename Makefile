# Everything a person or CI does here: make demo | test | check | fix | docs | bench | train-check
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check fix docs bench train-check clean

demo: .venv/.core
	$(BIN)/looktwice demo --out out/demo

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.docs
	$(BIN)/mkdocs build --strict --quiet --site-dir site
	@echo "Docs: site/index.html"

bench: .venv/.dev
	@for script in benchmarks/*.py; do case $$script in */real.py|*/train_check.py) continue;; esac; \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

train-check: .venv/.dev
	$(BIN)/python benchmarks/train_check.py

clean:
	rm -rf .venv out site

.venv/.core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "looktwice needs Python 3.11 or newer: make PYTHON=python3.12"'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[video,points,tiff]'
	@touch $@

.venv/.dev: .venv/.core
	$(PIP) -e '.[video,points,tiff,dev]'
	@touch $@

.venv/.docs: .venv/.core
	$(PIP) -e '.[video,points,tiff,docs]'
	@touch $@
