# A lecture you can run: `make` lists the targets, `make exp-vanishing` is the way in.
# Plain POSIX recipes on relative paths, and nothing newer than GNU make 3.81 (the one of macOS).

# Only what is given is passed on: the program owns the defaults and the error messages.
## SCALE=smoke|quick|full           seconds, a coffee (the default), or paper grade
## SEEDS=10                         repetitions of every condition; SEEDS=1 draws curves and gives no verdict
## JOBS=2                           worker processes
## LOGGER=tensorboard|wandb|csv     where curves go besides our own files; wandb works offline, without a login
## DATA=digits|fashion_mnist        one of the data sets that the experiment declares
## EXP=vanishing                    the experiment that `claims`, `report`, `verify`, `reference`, `tensorboard` are about
## NAME=MNIST                       the data set that `data` is about
## ARGS="..."                       any further options of the command behind the target
## TORCH=cpu|default                small CPU builds of torch and torchvision, or the registry's; remembered
## PYTHON=...                       an interpreter of yours that has the packages, instead of .venv
## PYTEST_ARGS="-n 2"               how tests run: two workers suit a laptop, none is one process
OPTIONS = $(if $(SCALE),--scale=$(SCALE)) $(if $(SEEDS),--seeds=$(SEEDS)) $(if $(JOBS),--jobs=$(JOBS)) \
          $(if $(LOGGER),--logger=$(LOGGER)) $(if $(DATA),--data=$(DATA)) $(ARGS)
EXPERIMENT = $(subst -,_,$(EXP))
PYTEST_ARGS ?= -n 2 --dist loadfile
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help setup environment list claims data report verify reference tensorboard bench glossary \
        test test-faults test-versions chaos soak mutants lint format lock clean

help: ## This list
	@awk -F ':.*## ' 'BEGIN { print "Targets" } \
	    /^[a-z][a-z %-]*:.*## / { sub("%", "<name>", $$1); printf "  %-20s %s\n", $$1, $$2 } \
	    /^## [A-Z_]+=/ { variables = variables "\n  " substr($$0, 4) } \
	    END { print "\nVariables, as in: make exp-vanishing SCALE=smoke SEEDS=2" variables }' Makefile

exp-all: ## Every experiment of the lecture, then the index of its 72 lines: runs/index.html
exp-%: environment ## One experiment, as exp-vanishing: train, judge, draw; `make list` names them all
	@$(PYTHON) -m experiments run $(subst -,_,$*) $(OPTIONS)

list: environment ## Experiments, with their claims and data sets
	@$(PYTHON) -m experiments list $(ARGS)

claims: environment ## Every claim, or those of EXP
	@$(PYTHON) -m experiments claims $(EXPERIMENT) $(ARGS)

data: environment ## Data sets: size, source, licence, what is here; NAME=MNIST fetches one
	@$(PYTHON) -m experiments data $(NAME) $(ARGS)

report: environment ## Statistics, figures and HTML again from the finished runs, of all experiments or of EXP
verify: environment ## Run EXP, or everything, again and compare with the kept reference; ARGS=--exact: no training
report verify:
	@$(PYTHON) -m experiments $@ $(or $(EXPERIMENT),all) $(OPTIONS)

reference: environment ## Keep the official results of EXP, or of all, as the reference: reference.json, picture, pages
	@$(PYTHON) -m experiments reference $(or $(EXPERIMENT),all) $(ARGS)

# Above 500 runs TensorBoard shows none until some are ticked: by default it gets the dashboards, one line a condition.
tensorboard: environment ## The dashboards of runs/, for this machine only; EXP=vanishing: every single seed of one
	@spec=$$(for folder in runs/*/dashboard; do name=$${folder%/dashboard}; printf '%s:%s,' "$${name##*/}" "$$folder"; done); \
	    $(PYTHON) -m tensorboard.main --host localhost --port 6006 \
	    $(if $(EXP),--logdir runs/$(EXPERIMENT),--logdir_spec "$${spec%,}") $(ARGS)

bench: environment ## What training costs beside a loop by hand and the usual template; ARGS=--keep: for the README
	@OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks $(ARGS)

glossary: environment ## The glossary of MODULES.md again, from the code
	@$(PYTHON) -m experiments glossary

test: environment ## The whole test suite
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(PYTEST_ARGS) $(ARGS)

test-faults: environment ## Full disks, damaged files, killed processes; and the slow cases of the tests
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(PYTEST_ARGS) -m slow stress tests $(ARGS)

test-versions: environment ## The tests on the lowest packages allowed and on newer Pythons; ARGS="lowest 3.12 3.13"
	@sh stress/versions $(ARGS)

chaos: environment ## Kill and break a running experiment at random, and see that nothing is lost; ARGS="--rounds=5"
soak: environment ## Train a thousand tiny runs, and see that memory, files and threads do not grow; ARGS="--runs=200"
mutants: environment ## Break the code in listed ways, and see that a named test catches each
chaos soak mutants:
	@$(PYTHON) -m stress.$@ $(ARGS)

lint: environment ## Style, format, types, and which room may import which
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint()" --no-cache --no-logo

format: environment ## Put imports and layout right
	@$(PYTHON) -m ruff check --select I --fix .
	@$(PYTHON) -m ruff format .

lock: environment ## Pins again from pyproject.toml, kept where they still fit (ARGS=--upgrade: the newest)
	@$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header --no-annotate \
	    --no-emit-index-url --output-file requirements.lock $(ARGS) pyproject.toml

clean: ## Caches only: runs/, data/ and .venv stay
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis ./*.egg-info
	@find . \( -path ./.git -o -path './.venv*' -o -path ./runs -o -path ./data \) -prune \
	    -o -type d -name __pycache__ -prune -exec rm -rf {} +

setup: environment ## Build .venv if it is not there or its pins have changed
	@echo "The environment is ready: $(PYTHON)"

environment:
ifneq ($(origin PYTHON),command line)
	@sh .ci/environment $(TORCH)
endif
	@:
