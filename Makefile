# make lab    installs the course and opens it          make check      the fast tests, under three minutes
# make test   installs it and passes all tests          make notebooks  builds, executes and stores the notebooks
# make bench  how near a training step is to the network alone
#
# Everything lives in .venv, which is made at the first call and left alone while requirements.lock and pyproject.toml do not change.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Exact versions where they were tried (Python 3.11 on Linux); elsewhere what pip finds within the bounds of pyproject.toml.
LOCKED := $(shell $(PYTHON) -c 'import sys, platform; print(int(sys.version_info[:2] == (3, 11) and platform.system() == "Linux" and platform.machine() == "x86_64"))')
# PIP_ARGS: more arguments for pip, such as an index that holds PyTorch's smaller CPU builds.
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: lab test check nbval browser slow notebooks bench doctor clean

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifeq ($(LOCKED),1)
	$(PIP) install -q $(PIP_ARGS) -r requirements.lock
	$(PIP) install -q $(PIP_ARGS) --no-deps --editable .
else
	$(PIP) install -q $(PIP_ARGS) --editable '.[test]'
endif
	touch $@

# In a container one is often root, where JupyterLab wants to be told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(VENV)/installed
	$(BIN)/python -m jupyterlab notebooks/00_start.ipynb $(AS_ROOT) $(LAB_ARGS)

# Two tests at a time, one thread each: more threads than cores make PyTorch crawl.
ONE_THREAD := OMP_NUM_THREADS=1 SSLCOURSE_THREADS=1
FAST := $(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist loadfile tests

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/python notebooks/build.py --check
	$(FAST) -m "not slow and not browser and not distributed"

slow: $(VENV)/installed
	$(ONE_THREAD) $(BIN)/python -m pytest -q tests -m "slow or distributed"

# The notebooks as a student sees them: nothing shortened, all the threads that the course chooses.
nbval: $(VENV)/installed
	$(BIN)/python -m pytest -q --nbval-lax --nbval-current-env --nbval-cell-timeout=120 --durations=8 notebooks -p no:cacheprovider

browser: $(VENV)/installed
	$(BIN)/python -m pytest -q tests -m browser

test: check slow nbval browser

notebooks: $(VENV)/installed
	$(BIN)/python notebooks/build.py

bench: $(VENV)/installed
	$(BIN)/sslcourse bench

doctor: $(VENV)/installed
	$(BIN)/sslcourse doctor

clean:
	rm -rf $(VENV) build dist *.egg-info
