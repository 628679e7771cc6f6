# What CI runs, one recipe each. `just` comes with the dev extra.

bin := ".venv/bin"
compile := bin / "uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate"
tools := env("KUBEBUILDER_ASSETS", home_directory() / ".cache/green-llm/bin")

# everything CI runs
ci: e2e-tools lint types imports test bench long readme

# rules and format
lint:
    {{bin}}/ruff check .
    {{bin}}/ruff format --check .

# static types
types:
    {{bin}}/mypy

# layers
imports:
    {{bin}}/lint-imports

# the test suite, with coverage
test *options:
    {{bin}}/pytest --cov --cov-report=term {{options}}

# the control plane for the e2e tests: kube-apiserver, etcd, kubectl, kube-controller-manager
e2e-tools:
    tests/tools/build {{tools}}

# the operator on a real API server
e2e *options:
    GREEN_LLM_E2E_REQUIRED=1 KUBEBUILDER_ASSETS={{tools}} {{bin}}/pytest tests/e2e {{options}}

# the README's picture of real traffic, from a run of its test
traffic-picture:
    GREEN_LLM_TRAFFIC_RECORD=/tmp/green-llm-traffic.json {{bin}}/pytest -s tests/e2e/traffic/test_changes.py
    PYTHONPATH=tests {{bin}}/python -m support.traffic.plot /tmp/green-llm-traffic.json docs/traffic.svg

# figures of speed, as ratios
bench:
    {{bin}}/pytest -m benchmark -s

# the example of nine sites over all its days
long:
    {{bin}}/pytest -m long

# the README's commands on a fresh copy
readme:
    {{bin}}/pytest -m readme

# the CRDs, from the models
crds:
    {{bin}}/python -m green_llm.api.crds crds
    cp crds/[!k]*.yaml charts/green-llm/crd-bases/

# Green-LLM with a gateway, three sites, load, Prometheus and Grafana, in a kind cluster
kind-up:
    deploy/kind/up.sh

# remove that cluster
kind-down:
    deploy/kind/down.sh

# the Grafana dashboards, from deploy/dashboards
dashboards:
    {{bin}}/python deploy/dashboards/build.py

# the README of the chart, from its values
chart:
    {{bin}}/python charts/readme.py

# what the image installs, by hash, from pyproject.toml; `just lock controller --upgrade` takes newer versions
lock folder="controller" *options:
    {{compile}} {{options}} pyproject.toml -o {{folder}}/requirements.lock
    {{compile}} {{options}} --group pyproject.toml:build -o {{folder}}/build.lock

# the shapes of live services' answers, from the stored ones
shapes:
    {{bin}}/python -m green_llm.signals.shapes tests/data/signals

# rewrite golden files; read the difference before committing it
golden:
    {{bin}}/pytest tests/optimizer --rewrite-golden

# the README's table and plot of the nine sites: a back-test over 42 synthetic days (minutes)
figures:
    {{bin}}/python examples/us_nine_sites.py

# the paper's experiments
paper:
    {{bin}}/python examples/paper/experiments.py
