# Gradient Flow in Transformers: theory you can run.
# Needs Python 3.11 or newer and make; everything else is installed into .venv.

PYTHON ?= python3
# Where torch comes from. Empty: the plain index. Without a GPU: https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# One chapter for `make notebooks`, and FORCE=1 to execute what is up to date too.
CHAPTER ?=
FORCE ?=
# What the constants of the assignments are drawn from, and the folder of submissions that are graded.
SALT ?= public
SUBMISSIONS ?=
UNSAFE ?=
# SOURCE=1: `make lab` opens the notebooks that the book is built from.
SOURCE ?=
# Options of `make claims`, `make mutants` and `make versions`, for example ARGS="--chapter foundations".
ARGS ?=

PY := .venv/bin/python
READY := .venv/.ready
GRADING := .venv-grading/.ready
LAB := .venv-lab/.ready
# An environment holds the path of the folder in which it was made: after a move it is mended before anything else.
MOVED := $(shell grep -q '^command = ' .venv/pyvenv.cfg 2>/dev/null && ! grep -qF " $$(pwd -P)/.venv" .venv/pyvenv.cfg && echo moved)
# Threads of torch that wait for one another sleep. Awake, a chapter on two threads took more than eight times as long beside one busy process.
export OMP_WAIT_POLICY ?= PASSIVE
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: book pdf test test-all mutants notebooks claims check assignments grade bench lab versions doctor help clean

book: $(READY) ## build the book into _build and print its address
	@$(PY) book/build.py

pdf: $(READY) ## print the whole book into _build/pdf, with Chromium, and print the address of the file
	@$(PY) book/pdf.py

test: $(READY) ## the tests of every day: lint, units, claims on two seeds, notebooks, the built book
	@$(PY) tests/run.py

test-all: $(READY) ## everything that CI runs: these, notebooks with two threads, a reader in a browser, paper, the course, and a share of the mutants
	@$(PY) tests/run.py --all

mutants: $(READY) ## change the library one line at a time and see that the tests notice (ARGS="--changed", ARGS="--id flow.heun")
	@$(ONE_THREAD) $(PY) tests/mutants/run.py $(ARGS)

notebooks: $(READY) ## execute the chapters whose source or library changed (CHAPTER=1_foundations, FORCE=1)
	@$(PY) -m attnflow.listing
	@$(PY) notebooks/build.py $(CHAPTER) $(if $(FORCE),--force)

claims: $(READY) ## run all claims and store them in results/claims.json (ARGS="--chapter foundations")
	@mkdir -p results
	@$(PY) -m attnflow.listing
	@$(PY) -m attnflow claims --json results/claims.json $(ARGS)

check: $(READY) ## run the claims of the book again and compare your run with it; changes no file
	@$(PY) -m attnflow compare

assignments: $(READY) $(GRADING) ## copies for students, with a zip each, in _build/assignments/release (SALT=autumn)
	@$(ONE_THREAD) $(PY) -m course assignments --salt "$(SALT)" $(CHAPTER)

grade: $(READY) ## grade submissions, one folder a student (SUBMISSIONS=dir SALT=autumn CHAPTER=kernels): _build/grades
	@test -n "$(SUBMISSIONS)" || { echo "make grade: say where the submissions are: make grade SUBMISSIONS=dir, one folder a student"; exit 2; }
	@$(ONE_THREAD) $(PY) -m course grade "$(SUBMISSIONS)" --salt "$(SALT)" $(if $(UNSAFE),--unsafe) $(CHAPTER)

bench: $(READY) .venv-jax/.ready ## time the library against what one would write instead: each room, the loop of a flow, and JAX
	@for file in $(filter-out $(addprefix benchmarks/,timing.py yardstick.py in_jax.py floor.py growth.py peers.py gpu.py),$(wildcard benchmarks/*.py)); do $(PY) $$file || exit 1; done
	@$(ONE_THREAD) $(PY) benchmarks/growth.py $(ARGS)
	@PYTHONPATH=.venv-jax $(PY) benchmarks/peers.py --threads 2 $(ARGS) && PYTHONPATH=.venv-jax $(PY) benchmarks/peers.py $(ARGS)

lab: $(READY) $(LAB) ## open the chapters in JupyterLab: copies in lab/, yours to change (SOURCE=1: those of the book, with MyST)
	@$(PY) book/build.py && $(PY) notebooks/lab.py .venv-lab/bin/python $(if $(SOURCE),--source)

versions: $(READY) ## try the oldest and the newest releases of what the library needs (ARGS="--python PATH", ARGS=--last-good)
	@nice $(PY) tests/versions.py --torch-index "$(TORCH_INDEX)" $(ARGS)

doctor: ## one line each on python, venv, disk, torch, the library, threads, chromium, bubblewrap
	@$(if $(wildcard $(PY)),$(PY),$(PYTHON)) lib/attnflow/doctor.py

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean: ## remove the built book and all caches; .venv, notebooks and results stay
	rm -rf _build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: moved
moved:
	@$(PY) lib/attnflow/doctor.py --mend

$(READY): requirements.txt pyproject.toml $(MOVED)
	@$(PYTHON) -c "" 2>/dev/null || { echo "make: there is no '$(PYTHON)'; install Python 3.11 or newer, or say where it is: make book PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "make: this book needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); try make book PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { echo "make: '$(PYTHON)' has no venv module; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Installing into .venv (some minutes the first time)"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' requirements.txt)
	$(PY) -m pip install -q --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

$(GRADING): requirements-grading.txt
	@echo "Installing nbgrader into .venv-grading (a minute the first time)"
	@test -x .venv-grading/bin/python || $(PYTHON) -m venv .venv-grading
	.venv-grading/bin/python -m pip install -q --disable-pip-version-check -r requirements-grading.txt
	@touch $(GRADING)

.venv-jax/.ready: requirements-jax.txt
	@echo "Installing JAX into .venv-jax (half a minute the first time)"
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --upgrade --target .venv-jax -r requirements-jax.txt
	@touch $@

$(LAB): requirements-lab.txt
	@echo "Installing JupyterLab into .venv-lab (a minute the first time)"
	@test -x .venv-lab/bin/python || $(PYTHON) -m venv .venv-lab
	.venv-lab/bin/python -m pip install -q --disable-pip-version-check -r requirements-lab.txt
	@touch $(LAB)
