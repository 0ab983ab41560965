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
## VERSIONS="lowest 3.12 3.13"      the environments of `test-versions`
## TORCH=cpu|default                small CPU builds of torch and torchvision, or the registry's; remembered
## PYTHON=...                       an interpreter of yours that has the packages, instead of .venv
OPTIONS = $(if $(SCALE),--scale=$(SCALE)) $(if $(SEEDS),--seeds=$(SEEDS)) $(if $(JOBS),--jobs=$(JOBS)) \
          $(if $(LOGGER),--logger=$(LOGGER)) $(if $(DATA),--data=$(DATA)) $(ARGS)

# Two workers suit a laptop; `make test PYTEST_ARGS=` runs in one process.
PYTEST_ARGS ?= -n 2

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help setup environment list claims data augmentations report verify reference bench glossary test test-versions chaos soak mutants lint format tensorboard lock clean

help: ## This list
	@awk -F ':.*## ' 'BEGIN { print "Targets" } \
	    /^[a-z][a-z-]*:.*## / { printf "  %-20s %s\n", $$1, $$2 } \
	    /^## [A-Z]+=/ { variables = variables "\n  " substr($$0, 4) } \
	    END { print "\nVariables, as in: make exp-vanishing SCALE=smoke SEEDS=2" variables }' Makefile

# --- Experiments: `make exp-<name>` works for every folder of experiments/; a line here lists it in the help.

exp-all: ## Every experiment of the lecture, then the index of its 72 lines: runs/index.html

exp-perceptron: ## The perceptron: its algorithm, its bound, and what it cannot separate

exp-nonlinearity: ## Why a non-linearity: linear layers collapse, XOR, sign against tanh, bias

exp-backprop: ## Back-propagation by hand: every formula of the slides against autograd

exp-regression: ## Least squares: maximum likelihood, one linear layer, two layers

exp-fully-connected: ## The fully connected network: simple tasks, other architectures, images and text

exp-losses: ## Losses for classes: one-hot and squared error against softmax and cross-entropy

exp-multilabel: ## Several labels a sample: binary cross-entropy against softmax

exp-overfitting: ## Over-fitting with depth, width, parameters, label noise

exp-regularization: ## L1, L2 and dropout: what they cost, what they gain

exp-augmentation: ## Augmented data: mass against variation, AutoAugment

exp-clipping: ## Gradient clipping: stability, and whether it regularises

exp-vanishing: ## Far from the supervision the gradient vanishes: activation, depth, initialisation, normalisation

exp-normalization: ## BatchNorm and LayerNorm: training, landscape, small batches

exp-gradient-descent: ## Descent in description space and in parameter space; how large a step may be

exp-batch-size: ## Stochastic, mini-batch, batch: steps, samples and seconds to a loss

exp-optimizers: ## Variants of the gradient against tuned SGD

exp-one-cycle: ## The one-cycle schedule: noise becomes an image, and a network's weights

exp-hyperparameters: ## Comparing architectures when everything must be tuned

exp-tools: ## Check-pointing, loading, logging, and a gallery of failures

exp-architectures: ## Every architecture of the lecture on real data, beside scikit-learn's score on the same split

exp-%: environment
	@$(PYTHON) -m experiments run $(subst -,_,$*) $(OPTIONS)

list: environment ## Experiments, with their claims and data sets
	@$(PYTHON) -m experiments list $(ARGS)

claims: environment ## Every claim, or those of EXP
	@$(PYTHON) -m experiments claims $(subst -,_,$(EXP)) $(ARGS)

data: environment ## Data sets: size, source, licence, what is here; NAME=MNIST fetches one
	@$(PYTHON) -m experiments data $(NAME) $(ARGS)

augmentations: environment ## A picture of augmented images: ARGS="--data FashionMNIST --policy trivial_augment --size 28"
	@$(PYTHON) -m experiments augmentations $(ARGS)

report: environment ## Statistics, figures and HTML again from the finished runs, of all experiments or of EXP
	@$(PYTHON) -m experiments report $(or $(subst -,_,$(EXP)),all) $(OPTIONS)

verify: environment ## Run EXP, or everything, again and compare with the kept reference; ARGS=--exact: no training
	@$(PYTHON) -m experiments verify $(or $(subst -,_,$(EXP)),all) $(OPTIONS)

reference: environment ## Keep the official results of EXP, or of all, as the reference: reference.json, picture, pages
	@$(PYTHON) -m experiments reference $(or $(subst -,_,$(EXP)),all) $(ARGS)

bench: environment ## What training costs beside a loop by hand and the usual recipe; ARGS=--keep: for the README, ARGS=--gpu: on a GPU
	@OMP_NUM_THREADS=1 $(PYTHON) -m experiments bench $(ARGS)

glossary: environment ## The glossary of MODULES.md again, from the code
	@$(PYTHON) -m experiments glossary

# Above 500 runs TensorBoard shows none until some are ticked: by default it gets the dashboards, one line a condition.
tensorboard: environment ## The dashboards of runs/, for this machine only; EXP=vanishing: every single seed of one
	@spec=$$(for folder in runs/*/dashboard; do name=$${folder%/dashboard}; printf '%s:%s,' "$${name##*/}" "$$folder"; done); \
	    $(PYTHON) -m tensorboard.main --host localhost --port 6006 \
	    $(if $(EXP),--logdir runs/$(subst -,_,$(EXP)),--logdir_spec "$${spec%,}") $(ARGS)

# --- Development

test: environment ## The whole test suite
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(PYTEST_ARGS) $(ARGS)

VERSIONS = lowest 3.12 3.13

test-versions: $(VERSIONS:%=test-version-%) ## The tests on the lowest packages of pyproject.toml (Python 3.11) and on newer Pythons

test-version-%: ELSEWHERE = .venv-versions/$*
test-version-%: environment
	@mkdir -p .venv-versions
	@test -x $(ELSEWHERE)/bin/python || { rm -rf $(ELSEWHERE) && \
	    $(UV) venv --quiet --python $(VERSION_PYTHON) $(ELSEWHERE) 2>/dev/null; } || { echo "uv finds no Python" \
	    "$(VERSION_PYTHON) and can fetch none: put one on the PATH, then try again." >&2; exit 1; }
	@$(VERSION_PINS) >$(ELSEWHERE)/all.txt
	@grep -vE '$(UNWANTED_$(TORCH))' $(ELSEWHERE)/all.txt >$(ELSEWHERE)/pins.txt
	@$(UV) pip install --python $(ELSEWHERE)/bin/python --exact --no-deps $(BACKEND_$(TORCH)) -r $(ELSEWHERE)/pins.txt
	@$(UV) pip install --python $(ELSEWHERE)/bin/python --quiet --no-deps --no-build-isolation --editable .
	@OMP_NUM_THREADS=1 $(ELSEWHERE)/bin/python -m pytest $(PYTEST_ARGS) $(ARGS)

VERSION_PYTHON = $(subst lowest,3.11,$*)
VERSION_PINS = $(if $(filter lowest,$*),$(UV) pip compile --quiet --resolution lowest-direct --python-version 3.11 \
    --extra dev --no-header --no-annotate --no-emit-index-url pyproject.toml,cat requirements.lock)

chaos: environment ## Kill and break a running experiment at random, and see that nothing is lost; ARGS="--rounds=5"
	@$(PYTHON) -m tests.chaos $(ARGS)

soak: environment ## Train a thousand tiny runs, and see that memory, files and threads do not grow; ARGS="--runs=200"
	@$(PYTHON) -m tests.soak $(ARGS)

mutants: environment ## Break the code in listed ways, and see that a named test catches each
	@$(PYTHON) -m tests.mutants $(ARGS)

lint: environment ## Style, format and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

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

# --- The environment: .venv, from requirements.lock. It is finished when .venv/.pins, written last, holds the lock's
# checksum: content and not time, so that touched files rebuild nothing and an interrupted set-up starts over.

setup: environment ## Build .venv if it is not there or its pins have changed
	@echo "The environment is ready: $(PYTHON)"

PYTHON := .venv/bin/python

# Without TORCH, what .venv was made with.
ifndef TORCH
TORCH := $(or $(shell cat .venv/.torch 2>/dev/null),default)
endif
ifeq ($(filter cpu default,$(TORCH)),)
$(error TORCH=$(TORCH) is not known: give TORCH=cpu or TORCH=default)
endif

PINS := $(shell cksum <requirements.lock)
BUILT := $(shell test -x .venv/bin/python && cat .venv/.torch .venv/.pins 2>/dev/null)
READY :=
ifeq ($(origin PYTHON),command line)
READY := yes
else ifeq ($(BUILT),$(TORCH) $(PINS))
READY := yes
endif

# Sizes are sums over the wheels that the lock selects, by the registry's own figures (November 2026): Linux 3.2 GB on
# x86-64 and 3.4 GB on ARM, of which 2.5 and 2.7 GB are NVIDIA's libraries; macOS 0.3 GB. The 0.4 GB of CPU builds is an
# estimate: the same sum without those libraries, and with torch at the 0.19 GB of an earlier CPU wheel.
SIZE_cpu = about 0.4 GB
SIZE_default = $(if $(filter Linux,$(shell uname -s)),\
    about 3.2 GB with CUDA (make setup TORCH=cpu: $(SIZE_cpu)),about 0.3 GB)

# The CPU builds come from PyTorch's own index and need none of the CUDA libraries that the lock lists.
UNWANTED_default = ^$$
UNWANTED_cpu = ^(nvidia|cuda|triton)
BACKEND_cpu = --torch-backend cpu
INSTALL_default = -r requirements.lock
INSTALL_cpu = $(BACKEND_cpu) -r .venv/requirements-cpu.lock

# uv where the machine has one that works, otherwise the one that pip puts into .venv; the first Python that fits.
HAS_UV = $(shell uv --version 2>/dev/null)
UV = $(if $(HAS_UV),uv,$(PYTHON) -m uv)
BASE = $(shell for python in python3.13 python3.12 python3.11 python3; do \
    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV = $(if $(HAS_UV),uv venv --quiet --python $(BASE) .venv,$(BASE) -m venv .venv && \
    $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock uv)

environment:
ifdef READY
	@:
else
	@test -n "$(BASE)" || { echo "No Python 3.11 or newer is on the PATH: install one, then try again." >&2; exit 1; }
	@test -n "$(HAS_UV)" || $(BASE) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(BASE) cannot make" \
	    "environments (no venv or ensurepip): install python3-venv or uv, then try again." >&2; exit 1; }
	@test ! -e .venv || echo "Replacing .venv, which was not made for these pins or never finished."
	@echo "Setting up .venv. To download, unless cached: $(strip $(SIZE_$(TORCH)))."
	@rm -rf .venv
	@$(VENV)
	@echo $(TORCH) >.venv/.torch
	@grep -vE '$(UNWANTED_cpu)' requirements.lock >.venv/requirements-cpu.lock
	@$(UV) pip install --python $(PYTHON) --compile-bytecode --no-deps $(INSTALL_$(TORCH))
	@$(UV) pip install --python $(PYTHON) --quiet --no-deps --no-build-isolation --editable .
	@echo $(PINS) >.venv/.pins
endif
