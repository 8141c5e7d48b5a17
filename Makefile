# `make benchmarks` runs everything; `make test` runs all tests. Both make the locked environment first.
PYTHON ?= python3
ACTIVATE = . .venv/bin/activate &&

.PHONY: environment benchmarks test lint smoke

environment: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "prior needs Python 3.11 or newer (PYTHON=python3.11 make ...)")'
	$(PYTHON) -m venv .venv || { echo "python3 -m venv failed: on Debian or Ubuntu, apt install python3-venv"; exit 1; }
	.venv/bin/pip install --quiet -r requirements.lock
	.venv/bin/pip install --quiet --no-deps -e .
	touch $@

benchmarks: environment
	$(ACTIVATE) snakemake --cores all all_benchmarks
	@echo "Open results/index.html; the tables are in results/tables/, the plots in results/plots/."

smoke: environment
	$(ACTIVATE) snakemake --cores all all_benchmarks --configfile params.yaml workflow/experiments/smoke.yaml
	@echo "Open runs/smoke/results/index.html."

lint: environment
	$(ACTIVATE) ruff check . && ruff format --check . && mypy prior && snakefmt --check Snakefile workflow && snakemake --lint

test: lint
	$(ACTIVATE) OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile
