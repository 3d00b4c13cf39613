# The two commands of the README, and what they share. PYTHON chooses the interpreter (>= 3.11).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKENDS ?= torch tensorflow jax
TESTS ?= tests
DEMO_BACKEND ?= torch

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(BIN)/python apps/hetero_train.py --backend=$(DEMO_BACKEND) --out_dir=runs/demo-$$(date +%Y%m%d-%H%M%S) --verbose=2

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -n 2 --dist=worksteal $(TESTS) || exit 1; \
	done

lint: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-peers.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[jax,test]"
	$(BIN)/python -m pip install -q --no-deps -r requirements-peers.txt
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .hypothesis .ruff_cache .jax_cache
