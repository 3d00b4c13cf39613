# The two commands of the README, and what they share. PYTHON chooses the interpreter (>= 3.11).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKENDS ?= torch tensorflow jax
TESTS ?= tests
DEMO_BACKEND ?= torch
INSTALL := $(BIN)/python -m pip install -q -c constraints.txt

.PHONY: demo test lint docs results-docs clean

demo: $(VENV)/installed-$(DEMO_BACKEND)
	$(BIN)/python apps/hetero_train.py --backend=$(DEMO_BACKEND) --out_dir=runs/demo-$$(date +%Y%m%d-%H%M%S) --verbose=2

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -n 2 --dist=worksteal $(TESTS) || exit 1; \
	done

lint: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs results-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The benchmark pages, from benchmarks/results; claims, tables and the README's figures, from results.
results-docs: $(VENV)/installed-$(DEMO_BACKEND)
	$(PYTHON) benchmarks/pages.py
	$(BIN)/python apps/result_pages.py --backend=$(DEMO_BACKEND)

$(VENV)/created:
	$(PYTHON) -m venv $(VENV)
	touch $@

# What one backend needs: installed-torch, installed-tensorflow, installed-jax; and installed-docs.
$(VENV)/installed-%: $(VENV)/created pyproject.toml constraints.txt
	$(INSTALL) -e ".[$*]"
	touch $@

$(VENV)/installed-test: $(VENV)/created pyproject.toml constraints.txt requirements-peers.txt
	$(INSTALL) -e ".[all,test,docs]"
	$(BIN)/python -m pip install -q --no-deps -r requirements-peers.txt
	touch $@ $(foreach part,$(BACKENDS) docs,$(VENV)/installed-$(part))

clean:
	rm -rf $(VENV) runs site .pytest_cache .hypothesis .ruff_cache .mypy_cache .jax_cache
