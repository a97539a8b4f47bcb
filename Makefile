# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
ARGS ?=
# What mypy reads: links, laid as an installation lays the packages.
TYPED = $(VENV)/typed
# One BLAS thread: the test processes already use every core, and the products of the
# small models are too small to share.
ONE_THREAD = OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1
WORKERS ?= auto
# The emulator needs a C++ compiler: where the system has none, one comes as a package.
COMMA = ,
COMPILER = $(if $(shell command -v g++ || command -v clang++),,$(COMMA)compiler)

.PHONY: demo test test-all lint check bench gallery gpu-check bench-gpu clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp
	$(ONE_THREAD) $(RUN) -m minidl demo $(ARGS)

test: lint
	$(ONE_THREAD) $(RUN) -m pytest -n $(WORKERS) -m "not slow and not gpu" $(ARGS)

test-all: lint
	$(ONE_THREAD) $(RUN) -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/test.stamp
	$(RUN) -m ruff check .
	rm -rf $(TYPED)/* && mkdir -p $(TYPED)/minidl
	ln -s $(CURDIR)/minidl/* $(CURDIR)/models $(CURDIR)/kernels $(TYPED)/minidl
	ln -s $(CURDIR)/examples $(TYPED)
	cd $(TYPED) && $(abspath $(RUN)) -m mypy --config-file $(CURDIR)/pyproject.toml \
		minidl examples/*.py

check: $(VENV)/demo.stamp
	$(ONE_THREAD) $(RUN) -m minidl check $(ARGS)

bench: $(VENV)/test.stamp
	$(RUN) benchmarks/run.py $(ARGS)

# Every example with its defaults, and its pictures for docs/gallery.md.
gallery: $(VENV)/test.stamp
	for example in examples/*.py; do $(RUN) $$example || exit 1; done
	$(RUN) docs/gallery.py

# On a machine with a GPU. A Python with NumPy, CuPy and PyTorch is enough: nothing is installed.
GPU_PYTHON ?= $(firstword $(wildcard $(RUN)) $(PYTHON))

gpu-check:
	$(GPU_PYTHON) benchmarks/gpu/check.py $(ARGS)

bench-gpu:
	$(GPU_PYTHON) benchmarks/gpu/check.py --only machine ladders convolutions layers training \
		names $(ARGS)

# The stamps make a second call start at once.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	touch $@

$(VENV)/test.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[demo,test$(COMPILER)]"
	touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
