# The two commands of a newcomer are `make demo` and `make test`; each does all of its own set-up.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
OUT ?= demo
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all slow chaos check bench protocol requirements clean

demo: $(VENV)/.platform
	$(BIN)/everloop demo $(if $(DATA),--data $(DATA)) --out $(OUT)

test: $(VENV)/.dev check
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow"

slow: $(VENV)/.dev
	tools/setup slow $(PYTHON) $(VENV)
	$(BIN)/pytest -q -n 2 --dist loadfile -m slow || [ $$? = 5 ]

chaos: $(VENV)/.dev  # kill -9 at every single fault point of the triggers
	EVERLOOP_KILL_EVERY=1 $(BIN)/pytest -q -m slow tests/loop/test_kills.py tests/loop/test_pulling.py

test-all: test slow

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

ON_DATA = bench/evaluation.py bench/recipes.py
bench: $(VENV)/.dev  # make bench DATA=FOLDER: those that need the real data, too
	@for bench in $(filter-out bench/command.py $(ON_DATA),$(wildcard bench/*.py)) bench/detectors bench/loop bench/pipelines bench/serving; \
	do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done
ifdef DATA
	$(BIN)/python bench/evaluation.py $(DATA)/bike-sharing/hour.csv
	$(BIN)/python bench/recipes.py $(DATA)
else
	@echo "left out: $(ON_DATA) need the folder of the real data (make bench DATA=FOLDER)"
endif

protocol: $(VENV)/.dev
	$(BIN)/python -m grpc_tools.protoc --proto_path=src/everloop/serving --descriptor_set_out=src/everloop/serving/inference.pb inference.proto

requirements:
	tools/setup requirements $(PYTHON) $(VENV)

$(VENV)/.platform: requirements/platform.txt requirements/uv.txt pyproject.toml tools/setup
	tools/setup platform $(PYTHON) $(VENV)

$(VENV)/.dev: requirements/dev.txt requirements/uv.txt pyproject.toml tools/setup
	tools/setup dev $(PYTHON) $(VENV)

clean:
	rm -rf $(VENV) demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
