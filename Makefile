# Every target does its own set-up. Needs only make and a Python from 3.10 to 3.13 (PYTHON=python3.12 to choose one).
PYTHON ?= python3
VENV := .venv
LEGACY_VENV := .venv-tf2.15
PEERS_VENV := .venv-peers
MLFLOW_VENV := .venv-mlflow
JUPYTER_VENV := .venv-jupyter
S3_VENV := .venv-s3
BENCH_VENV := .venv-bench
LEGACY_PEERS_VENV := .venv-peers-tf2.15
LOCK := requirements/lock.txt
LEGACY_LOCK := requirements/lock-tf2.15.txt
PYTEST_ARGS ?=
SHAPES_ARGS ?=
BIN := $(VENV)/bin
# What has a target of its own, with packages that the others do without: not even collected elsewhere.
APART := $(addprefix --ignore=tests/,docker peers mlflow jupyter s3 dist slurm)

.PHONY: demo test test-small test-legacy test-docker docker-packages test-slurm slurm-packages matrix lint format bench pictures shapes soak test-estimator test-peers test-mlflow test-jupyter test-s3 guard dist test-dist schema lock clean test-packages

demo: $(VENV)/.installed
	$(BIN)/tflaunch local --workers 2 --ps 1

test: test-packages lint
	$(BIN)/python -m pytest -m "not soak" $(APART) --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

test-legacy: $(LEGACY_VENV)/.installed
	$(LEGACY_VENV)/bin/python -m pytest -m "legacy and not soak" $(APART) --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

# The smaller set on the newest TensorFlow, with every Python that is here.
matrix:
	@for version in 3.10 3.11 3.12 3.13; do \
	  if python$$version -c '' 2>/dev/null; then \
	    $(MAKE) --no-print-directory VENV=.venv-py$$version PYTHON=python$$version test-small || exit 1; \
	  else echo "python$$version: none here, left out"; fi; \
	done

test-small: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "legacy and not soak" $(APART) --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

# Hosts made of namespaces, the guard of ports and patterns compared with git need these. Where they cannot be installed,
# the tests that need them say so and are left out; in CI they fail.
test-packages:
	@missing=; command -v ip >/dev/null || missing="$$missing iproute2"; command -v ssh-keygen >/dev/null || missing="$$missing openssh-client"; \
	PATH="$$PATH:/usr/sbin" command -v sshd >/dev/null || missing="$$missing openssh-server"; \
	command -v git >/dev/null || missing="$$missing git"; command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null || true; fi

# The image of docker/ is built and its compose cluster started for real: as root, on Debian, with a Python of the version
# that the base image has.
test-docker: $(VENV)/.installed-dev docker-packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'podman-compose>=1.5'
	$(BIN)/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/docker

docker-packages:
	@for program in podman buildah runc debootstrap iptables; do PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || missing=yes; done; \
	[ -z "$$missing" ] && [ -e /usr/lib/podman/aardvark-dns ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends podman buildah runc debootstrap iptables netavark aardvark-dns >/dev/null; }

# A Slurm of three nodes out of namespaces, and runs on it: as root, on Debian.
test-slurm: $(VENV)/.installed-dev slurm-packages
	$(BIN)/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/slurm

slurm-packages:
	@for program in slurmctld slurmd srun munged ip ps; do PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || missing=yes; done; \
	[ -z "$$missing" ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends slurmctld slurmd slurm-client munge iproute2 procps >/dev/null; }

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.house
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev $(LEGACY_VENV)/.installed $(BENCH_VENV)/.installed
	$(BIN)/python -m tests.benchmarks --legacy-python $(LEGACY_VENV)/bin/python

pictures: $(VENV)/.installed-dev
	$(BIN)/python -m tests.launcher.views.console_picture docs/pictures

# What becomes of programs of every shape, as a table; about an hour.
shapes: $(VENV)/.installed-dev $(LEGACY_VENV)/.installed
	$(BIN)/python -m tests.shapes.table $(SHAPES_ARGS)
	$(LEGACY_VENV)/bin/python -m tests.shapes.table $(SHAPES_ARGS)

# The long tests; with SOAK_S=3600 random drills for so many seconds, and with SOAK_SEED=… SOAK_ONLY=… one of them again.
soak: $(VENV)/.installed-dev
ifneq ($(SOAK_S)$(SOAK_ONLY),)
	$(BIN)/python -m tests.soak $(if $(SOAK_S),--seconds $(SOAK_S)) $(if $(SOAK_SEED),--seed $(SOAK_SEED)) $(if $(SOAK_ONLY),--only $(SOAK_ONLY)) $(SOAK_ARGS)
else
	$(BIN)/python -m pytest -m soak $(APART) $(PYTEST_ARGS)
	TFLAUNCH_EXAMPLES=2000 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/launcher/spec tests/launcher/lifecycle
	TFLAUNCH_EXAMPLES=5000 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/launcher/estimator/streaming/test_round_trips.py
endif

# tf.estimator's own tests on the newest TensorFlow and on 2.15.1: make test-estimator SUITE=DIR [SUITE_ARGS="--only keras"].
test-estimator: $(VENV)/.installed-dev $(LEGACY_VENV)/.installed
	@[ -n "$(SUITE)" ] || { echo "SUITE=DIR is missing; CONTRIBUTING.md says how to get it" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) pandas
	$(LEGACY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LEGACY_LOCK) pandas
	$(BIN)/python -m tests.estimator_suite $(SUITE) --legacy-python $(LEGACY_VENV)/bin/python $(SUITE_ARGS)

# DeepCTR and EasyRec on both TensorFlows, in environments of their own.
test-peers: $(PEERS_VENV)/.installed $(LEGACY_PEERS_VENV)/.installed
	$(PEERS_VENV)/bin/python -m pytest -p no:cacheprovider $(PYTEST_ARGS) tests/peers
	$(LEGACY_PEERS_VENV)/bin/python -m pytest -p no:cacheprovider $(PYTEST_ARGS) tests/peers

# The mlflow listener against a real server.
test-mlflow: $(MLFLOW_VENV)/.installed
	$(MLFLOW_VENV)/bin/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/mlflow

# Runs from a real Jupyter kernel, and asked for by Optuna.
test-jupyter: $(JUPYTER_VENV)/.installed
	$(JUPYTER_VENV)/bin/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/jupyter tests/launcher/api/test_documentation.py

# s3:// against moto's server on loopback.
test-s3: $(S3_VENV)/.installed
	$(S3_VENV)/bin/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/s3

# The library that guards ports, for both kinds of machines and any glibc from 2.17: what a wheel brings along.
guard: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'ziglang>=0.13'
	$(BIN)/python -m launcher.agent.inside.guard.build --all

# A wheel with that library: it needs no compiler where it is installed. `make guard` in a checkout puts it there, too.
dist: guard
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# The wheel in an empty environment, and the library for aarch64 under qemu: as root, on Debian.
test-dist: $(VENV)/.installed-dev dist
	@command -v qemu-aarch64 >/dev/null && [ -e /usr/aarch64-linux-gnu ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends qemu-user libc6-arm64-cross >/dev/null; }
	$(BIN)/python -m pytest -n0 -p no:cacheprovider $(PYTEST_ARGS) tests/dist

schema: $(VENV)/.installed-dev
	$(BIN)/tflaunch schema > launcher/spec/cluster_spec.schema.json

clean:
	rm -rf $(VENV) $(LEGACY_VENV) $(PEERS_VENV) $(LEGACY_PEERS_VENV) $(MLFLOW_VENV) $(JUPYTER_VENV) $(S3_VENV) $(BENCH_VENV)

# A virtual environment is made with the standard library; where a distribution leaves that part out, root installs it.
define make_venv
	$(1) -m venv --clear $(2) || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv && $(1) -m venv --clear $(2); } \
	  || { echo "$(1) cannot make virtual environments: install python3-venv, or choose another with PYTHON=…" >&2; exit 2; }
endef

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 14) else f"Python 3.10 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	$(call make_venv,$(PYTHON),$(VENV))

$(VENV)/.installed: $(VENV)/bin/python $(LOCK) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable .
	$(BIN)/python -m launcher.agent.inside.guard.build
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable '.[dev]'
	touch $@

# TensorFlow 2.15.1 exists for Python 3.9 to 3.11.
$(LEGACY_VENV)/.installed: $(LEGACY_LOCK) pyproject.toml
	python=$$(for p in python3.11 python3.10 $(PYTHON); do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' && { command -v $$p; break; }; done); \
	[ -n "$$python" ] || { echo "TensorFlow 2.15.1 needs Python 3.10 or 3.11, and there is none" >&2; exit 2; }; \
	$$python -m venv --clear $(LEGACY_VENV)
	$(LEGACY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LEGACY_LOCK) --editable '.[dev]'
	touch $@

# $(1): the interpreter, $(2): the environment, $(3): the lock file.
define make_peers_venv
	$(1) -m venv --clear $(2)
	$(2)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(3) --editable '.[dev]'
	$(2)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(3) --requirement requirements/peers.txt
	$(2)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps 'pai-easy-rec==0.7.1'
	cp tests/peers/sitecustomize.py $$($(2)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	touch $(2)/.installed
endef

# $(1): an environment that has what ours has, $(2): what it has besides.
define make_venv_beside
	$(call make_venv,$(BIN)/python,$(1))
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > $$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tflaunch-dev.pth
	touch $(1)/.installed
endef

$(MLFLOW_VENV)/.installed: $(VENV)/.installed-dev
	$(call make_venv_beside,$(MLFLOW_VENV),'mlflow>=2.10')

$(JUPYTER_VENV)/.installed: $(VENV)/.installed-dev
	$(call make_venv_beside,$(JUPYTER_VENV),'ipykernel>=6' 'nbclient>=0.8' 'optuna>=3')

$(S3_VENV)/.installed: $(VENV)/.installed-dev
	$(call make_venv_beside,$(S3_VENV),'moto[server]>=5')

$(BENCH_VENV)/.installed: $(VENV)/.installed-dev
	$(call make_venv_beside,$(BENCH_VENV),'datasets>=3')

$(PEERS_VENV)/.installed: $(VENV)/.installed requirements/peers.txt tests/peers/sitecustomize.py
	$(call make_peers_venv,$(BIN)/python,$(PEERS_VENV),$(LOCK))

$(LEGACY_PEERS_VENV)/.installed: $(LEGACY_VENV)/.installed requirements/peers.txt tests/peers/sitecustomize.py
	$(call make_peers_venv,$(LEGACY_VENV)/bin/python,$(LEGACY_PEERS_VENV),$(LEGACY_LOCK))

# Needs uv. One file for every Python and platform that we support, without addresses of an index.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url -o $(LOCK)
