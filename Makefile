# make lab    installs the course and opens it          make check      lint and the fast tests, in minutes
# make test   installs it and passes all tests          make notebooks  builds, executes and stores the notebooks
# make bench  how near a training step is to the network alone, and what views and the live panel cost
# make site   the course's pages, into site/            make nightly    what takes too long for each change
# make networks  the trained networks that come with the course, as far as they are missing
# make latency  from a moved pointer to changed pixels, view by view
#
# make lint   style and declared packages         make types   mypy
# make dist   the wheel and the sources           make lock    writes the exact versions anew
#
# Everything lives in .venv, which is made at the first call and left alone while the locks and pyproject.toml do not change.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# PIP_ARGS: more arguments for pip, such as the folder of a colleague's downloads (--find-links).
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: lab test check slow distributed nbval browser nightly pythons lint types notebooks networks bench site colab latency dist lock doctor clean

# What a student needs, in exact versions for Python 3.10 to 3.13 on Linux, macOS (Apple silicon) and Windows.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q $(PIP_ARGS) -r requirements.lock
	$(PIP) install -q $(PIP_ARGS) --no-deps --editable .
	touch $@

# What the tests need on top of it.
$(VENV)/installed-for-tests: $(VENV)/installed requirements-test.lock
	$(PIP) install -q $(PIP_ARGS) -r requirements.lock -r requirements-test.lock
	touch $@

# In a container one is often root, where JupyterLab wants to be told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(VENV)/installed
	$(BIN)/python -m jupyterlab notebooks/00_start.ipynb $(AS_ROOT) $(LAB_ARGS)

# What is read without being run: style, undeclared or unused packages, notebooks that do not hold their sources. Biome, which reads
# the views' JavaScript, has a package for Linux on x86-64 alone.
lint: $(VENV)/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry sslcourse
	$(BIN)/deptry tests tools docs --exclude '^$$' --ignore DEP002,DEP004
	if [ -x $(BIN)/biome ]; then $(BIN)/biome ci sslcourse; fi
	$(BIN)/python tools/build_notebooks.py --check

types: $(VENV)/installed-for-tests
	$(BIN)/mypy

# Two tests at a time, one thread each: more threads than cores make PyTorch crawl.
ONE_THREAD := OMP_NUM_THREADS=1 SSLCOURSE_THREADS=1
PYTEST := -m pytest -q --durations=12
TWO := -n 2 --dist worksteal

check: lint types
	$(ONE_THREAD) $(BIN)/python $(PYTEST) -n 2 --dist loadfile tests -m "not slow and not browser and not distributed and not nightly"

slow: $(VENV)/installed-for-tests
	$(ONE_THREAD) $(BIN)/python $(PYTEST) $(TWO) tests -m "slow and not browser and not distributed and not nightly"

distributed: $(VENV)/installed-for-tests
	$(ONE_THREAD) $(BIN)/python $(PYTEST) tests -m "distributed and not browser and not nightly"

# The lessons as a student sees them, nothing shortened, two at a time; what their cells with the tag nbval-check-output print is compared
# with what is stored. They are kept as they ran, for the browser's tests. The homework, blank and solved, is run whole by
# tests/test_build.py, which asks for its points; a lesson's solution differs from the lesson in its exercises alone, and those are judged
# by the grader's test.
NBVAL := -m pytest -q -p nbval_guard -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=200 -p no:cacheprovider
LESSONS := $(wildcard notebooks/*.ipynb)
NOTEBOOK_ENV := $(ONE_THREAD) PYTHONPATH=tools

nbval: $(VENV)/installed-for-tests
	$(NOTEBOOK_ENV) $(BIN)/python $(NBVAL) --record build/lessons $(LESSONS)

# What measures time goes first and alone.
TIMED := latency or pointer_to_pixels

browser: $(VENV)/installed-for-tests
	$(BIN)/python -m pytest -q tests -m "browser and not nightly" -k "$(TIMED)"
	$(ONE_THREAD) $(BIN)/python $(PYTEST) $(TWO) tests -m "browser and not nightly" -k "not ($(TIMED))"

# Three lessons are run by the browser's tests, in JupyterLab, where their time and their outputs are looked at as nbval does: not twice.
WHOLE := $(addprefix notebooks/,02_bigan.ipynb 10_dense_predictive_coding.ipynb 11_audio_video_sync.ipynb)

test: check slow distributed
	$(MAKE) nbval LESSONS="$(filter-out $(WHOLE),$(LESSONS))"
	$(MAKE) browser

# What takes too long for each change: every lesson in JupyterLab, repetitions under other seeds, what is asked of the network, the fast
# tests on every Python that is here, Colab's versions.
nightly: $(VENV)/installed-for-tests
	$(ONE_THREAD) $(BIN)/python $(PYTEST) $(TWO) tests -m nightly
	$(MAKE) pythons
	$(MAKE) colab

VERSIONS ?= $(foreach v,3.10 3.11 3.12 3.13,$(if $(shell python$(v) --version 2>/dev/null),$(v)))

.venv-%/installed: requirements.lock requirements-test.lock pyproject.toml
	python$* -m venv .venv-$*
	.venv-$*/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -r requirements.lock -r requirements-test.lock
	.venv-$*/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) --no-deps --editable .
	touch $@

pythons: $(VERSIONS:%=.venv-%/installed)
	for v in $(VERSIONS); do \
		$(ONE_THREAD) .venv-$$v/bin/python $(PYTEST) -n 2 --dist loadfile tests -m "not slow and not browser and not distributed and not nightly" || exit 1; \
	done

# The notebooks, and from the same runs what the course's pages show.
notebooks: $(VENV)/installed-for-tests
	$(BIN)/python tools/build_notebooks.py
	$(BIN)/python docs/lesson_pages.py --from build/lessons

# About two minutes each; what `sslcourse evaluate --all --recipe full` has trained is taken, see the tool.
networks: $(VENV)/installed
	$(BIN)/python tools/make_networks.py $(NETWORKS)

bench: $(VENV)/installed
	$(BIN)/sslcourse bench

# The pages of the course, without a network: they show the runs in docs/runs/, which `make notebooks` writes.
site: $(VENV)/installed-for-tests
	$(BIN)/python docs/readme.py --check
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs site
	@echo open site/index.html

latency: $(VENV)/installed-for-tests
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
	$(ONE_THREAD) $(COLAB)/bin/python -m pytest -q -n 2 -m "not browser and not slow and not nightly" tests/test_widgets.py tests/test_maps.py \
		tests/test_video.py tests/test_gallery.py tests/test_check.py -W ignore::DeprecationWarning
	$(NOTEBOOK_ENV) $(COLAB)/bin/python $(NBVAL) -W ignore::DeprecationWarning $(COLAB_LESSONS)

# The wheel, which is the whole course for a student, and the sources.
dist: $(VENV)/installed-for-tests
	$(BIN)/python -m hatchling build

doctor: $(VENV)/installed
	$(BIN)/sslcourse doctor

# Universal locks: one file for all Pythons and systems, with markers; pip reads them. Pins that still hold are kept;
# `make lock UV_ARGS=--upgrade` takes the newest of everything. The tests' lock is what its own solution has beyond the student's.
LOCK := .venv-lock
COMPILE := pip compile --universal --python-version 3.10 --no-annotate

$(LOCK)/bin/uv:
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) uv

lock: $(LOCK)/bin/uv
	$< $(COMPILE) -q $(UV_ARGS) --custom-compile-command "make lock: uv $(COMPILE) --extra lab pyproject.toml" \
		--extra lab pyproject.toml -o requirements.lock
	cp requirements-test.lock $(LOCK)/all.lock
	$< $(COMPILE) -q $(UV_ARGS) --no-header --extra test -c requirements.lock pyproject.toml -o $(LOCK)/all.lock
	echo "# What tests need on top of requirements.lock. Made by" > requirements-test.lock
	echo "#    make lock: uv $(COMPILE) --extra test -c requirements.lock pyproject.toml" >> requirements-test.lock
	grep -vxFf requirements.lock $(LOCK)/all.lock >> requirements-test.lock

clean:
	rm -rf $(VENV) $(COLAB) $(LOCK) $(VERSIONS:%=.venv-%) build site dist *.egg-info
