# `make train` and `make test` need Python 3.11 or later and make, nothing else: they create .venv and install into it.
PYTHON ?= python3
RUN    := .venv/bin/python -m
ARGS   ?=
OUT    ?= runs/mnist

.PHONY: help train test lint bench mutants docs notebooks dist clean

help:
	@echo "make train    train the paper's VAE on MNIST into $(OUT), then measure it (ARGS: options of scratchvae train)"
	@echo "make test     every proof: pytest, four minutes on two cores (ARGS: options of pytest; -rs says why some are"
	@echo "              skipped: those against PyTorch and JAX, without pip install --editable '.[bench]' in .venv)"
	@echo "make lint     ruff and mypy --strict"
	@echo "make docs     the documentation, lessons executed, into docs/_build/html"
	@echo "make notebooks the lessons as notebooks that have been run, into docs/_build/notebooks"
	@echo "make dist     a wheel and an sdist into dist/, both installed and tried in clean environments"
	@echo "make bench    time it against its peers (ARGS: options of bench)"
	@echo "make mutants  plant errors in mathematics and schedule, see each found (ARGS: options of tests.mutants;"
	@echo "              ARGS=--gallery: errors of other people's VAEs, and which check finds each)"
	@echo
	@echo ".venv/bin/scratchvae            every command; --help after any of them teaches it"
	@echo ".venv/bin/scratchvae estimators the laboratory: bias, variance, cost of every gradient estimator (some 7 minutes)"

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	@touch $@

train: .venv/installed
	$(RUN) scratchvae train mnist --out $(OUT) $(ARGS)
	$(RUN) scratchvae evaluate $(OUT) --samples 100

test: .venv/installed
	$(RUN) pytest --numprocesses auto --dist loadfile $(ARGS)

lint: .venv/installed
	.venv/bin/ruff check .
	$(RUN) mypy

docs: .venv/docs
	$(RUN) sphinx -q -W -n --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "open docs/_build/html/index.html"

notebooks: .venv/docs
	.venv/bin/python docs/ext/notebooks.py

.venv/docs: .venv/installed
	$(RUN) pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

dist:
	$(PYTHON) -m tests.dist dist

bench: .venv/installed
	$(RUN) bench $(ARGS)

mutants: .venv/installed
	$(RUN) tests.mutants $(ARGS)

clean:
	rm -rf .venv
