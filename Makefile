# make lab    installs the course and opens it          make check      the fast tests, about three minutes
# make test   installs it and passes all tests          make notebooks  builds, executes and stores the notebooks
# make bench  how near a training step is to the network alone, and what views and the live panel cost
# make site   the course's pages, into site/   make colab      lessons and homework under Colab's versions
# make latency  from a moved pointer to changed pixels, view by view
#
# Everything lives in .venv, which is made at the first call and left alone while requirements.lock and pyproject.toml do not change.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Exact versions where they were tried (Python 3.11 on Linux); elsewhere what pip finds within the bounds of pyproject.toml.
LOCKED := $(shell $(PYTHON) -c 'import sys, platform; print(int(sys.version_info[:2] == (3, 11) and platform.system() == "Linux" and platform.machine() == "x86_64"))')
# PIP_ARGS: more arguments for pip, such as an index that holds PyTorch's smaller CPU builds.
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: lab test check nbval browser slow notebooks bench site colab latency doctor clean

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
FAST := $(ONE_THREAD) $(BIN)/python -m pytest -q --durations=12 -n 2 --dist loadfile tests

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/python notebooks/build.py --check
	$(FAST) -m "not slow and not browser and not distributed"

slow: $(VENV)/installed
	$(ONE_THREAD) $(BIN)/python -m pytest -q --durations=12 -n 2 --dist worksteal tests -m "slow and not browser and not distributed"
	$(ONE_THREAD) $(BIN)/python -m pytest -q tests -m "distributed and not browser"

# The lessons as a student sees them, nothing shortened, two at a time. The homework, blank and solved, is run whole by tests/test_build.py,
# which asks for its points; a lesson's solution differs from the lesson in its exercises alone, and those are judged by the grader's test.
NBVAL := -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=200 -p no:cacheprovider
LESSONS := $(wildcard notebooks/*.ipynb)

nbval: $(VENV)/installed
	$(ONE_THREAD) $(BIN)/python $(NBVAL) $(LESSONS)

# What measures time goes first and alone; the lessons in JupyterLab two at a time.
TIMED := latency or pointer_to_pixels

browser: $(VENV)/installed
	$(BIN)/python -m pytest -q tests -m browser -k "$(TIMED)"
	$(ONE_THREAD) $(BIN)/python -m pytest -q --durations=12 -n 2 --dist worksteal tests -m browser -k "not ($(TIMED))"

test: check slow nbval browser

notebooks: $(VENV)/installed
	$(BIN)/python notebooks/build.py

bench: $(VENV)/installed
	$(BIN)/sslcourse bench

# The pages of the course, without a network: they show the runs in docs/runs/, which docs/lesson_pages.py makes again.
site: $(VENV)/installed
	$(BIN)/python docs/readme.py --check
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs site
	@echo open site/index.html

latency: $(VENV)/installed
	$(BIN)/python -m pytest -q -s tests -m browser -k "$(TIMED)"

# Colab's own versions of everything that the course uses, in an environment of their own: the kernel of 2022 and the widgets of 2021 that
# Colab has. Python 3.13, as there, where this machine has it.
COLAB_PYTHON ?= $(shell python3.13 -c 'print("python3.13")' 2>/dev/null || echo $(PYTHON))
COLAB := .venv-colab
COLAB_LESSONS := $(LESSONS) $(wildcard notebooks/homework/*.ipynb)

$(COLAB)/installed: tests/colab/packages.txt tests/colab/constraints.py pyproject.toml
	$(COLAB_PYTHON) -m venv $(COLAB)
	$(COLAB_PYTHON) tests/colab/constraints.py > $(COLAB)/constraints.txt
	$(COLAB)/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(COLAB)/constraints.txt --editable '.[flow]' ipykernel nbval beartype pytest-xdist
	touch $@

colab: $(COLAB)/installed
	$(ONE_THREAD) $(COLAB)/bin/python -m pytest -q -n 2 -m "not browser and not slow" tests/test_widgets.py tests/test_maps.py tests/test_video.py \
		tests/test_gallery.py tests/test_check.py -W ignore::DeprecationWarning
	$(ONE_THREAD) $(COLAB)/bin/python $(NBVAL) -W ignore::DeprecationWarning $(COLAB_LESSONS)

doctor: $(VENV)/installed
	$(BIN)/sslcourse doctor

clean:
	rm -rf $(VENV) $(COLAB) build site dist *.egg-info
