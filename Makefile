# A target runs one command of pipelines/. PRESET names the preset (the config to start from), ARGS is passed on: make train ARGS="--loop.steps 50"
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
PRESET ?= $(if $(filter own,$(MAKECMDGOALS)),own,demo)
VIDEOS ?= my_videos
ARGS ?=
SEEDS ?= 3
ENGINE ?=
JOBS ?= 2

export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --no-input --disable-pip-version-check --constraint constraints.txt
# The stamp's name holds a checksum of what is to be installed: when that changes, the next target installs again.
STAMP := $(VENV)/.installed-$(firstword $(shell cat pyproject.toml constraints.txt | cksum))

ASKED_OFFLINE := $(HF_HUB_OFFLINE)
# The demo's videos are rendered on first use, and its models are in the repository: nothing is downloaded.
ifneq (,$(filter demo smoke,$(PRESET)))
RENDERED := videos
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_PROGRESS_BARS := 1
endif

.PHONY: help setup demo demo-smoke own videos import-dataset import-checkpoint priors import features check-features train lr-range tune eval export-model evaluate-file predict push diagnose \
        report compare table3 table4 table5 ablations inspect export migrate cuda-wheels \
        test pytest lint format types contracts clean clean-demo clean-venv

help:  ## list the targets
	@echo 'usage: make TARGET [PRESET=demo] [ARGS="--option value ..."]     options of a target: make train ARGS=--help'
	@sed -n 's/^\([a-z0-9%-]*\):.*  ## \(.*\)/  \1\t\2/p' Makefile | expand -t 21

setup: $(STAMP)  ## create .venv with the versions of constraints.txt (every target does this first)

# torch comes first and alone, so that the packages that need it find the chosen build and fetch no second one.
$(STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is %d.%d (%s). Choose another: make PYTHON=python3.12 ..." % (v[0], v[1], sys.executable))'
	@echo "[1/3] $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "The module venv is incomplete here (Debian, Ubuntu: install python3-venv)." >&2; exit 1; }
	@echo "[2/3] torch, the largest download"
	@$(PIP) setuptools $$(grep '^torch==' constraints.txt)
	@echo "[3/3] the other packages"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@rm -f $(VENV)/.installed-* && touch $@

demo: $(STAMP)  ## run the full pipeline on the demo dataset: videos, priors, features, training, mAP, report (about 4 min on 2 cores)
	@$(PY) -m pipelines demo demo $(ARGS)

demo-smoke: $(STAMP)  ## run the same pipeline with few videos and steps, for continuous integration
	@$(PY) -m pipelines demo smoke $(ARGS)

own: $(STAMP)  ## your own videos from import to segments (docs/own-videos.md): make own VIDEOS=folder
	@$(PY) -m pipelines own --videos $(VIDEOS) $(ARGS)

videos: $(STAMP)  ## render the demo's videos and annotations
	@$(PY) -m pipelines videos $(PRESET)

import-dataset: $(STAMP)  ## import a dataset in a public layout, or your own videos (docs/datasets.md): PRESET=thumos14 ARGS="--source FOLDER"
	@$(PY) -m pipelines import-dataset $(PRESET) $(ARGS)

priors: $(STAMP) $(RENDERED)  ## describe the training videos with a video MLLM and look up the word vectors (ENGINE=ray: on a Ray cluster)
	@$(PY) -m pipelines priors $(PRESET) $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

import: $(STAMP)  ## import descriptions that were made elsewhere: ARGS="--file texts.jsonl --model-id NAME"
	@$(PY) -m pipelines import $(PRESET) $(ARGS)

import-checkpoint: $(STAMP)  ## import weights of a host's public code as a run: ARGS="--host delu --file best_DELU.pkl"
	@$(PY) -m pipelines import-checkpoint $(PRESET) $(ARGS)

features: $(STAMP) $(RENDERED)  ## encode every video as snippet features, one stream for each encoder of the preset
	@$(PY) -m pipelines features $(PRESET) $(ARGS)

check-features: $(STAMP)  ## compare features with those of others: length, scale, cosine: ARGS="--against video_1.npy video_2.npy"
	@$(PY) -m pipelines check-features $(PRESET) $(ARGS)

train: $(STAMP)  ## train MLLM4WTAL, or a host alone
	@$(PY) -m pipelines train $(PRESET) $(ARGS)

lr-range: $(STAMP)  ## look for a learning rate of the host: a short training whose rates rise
	@$(PY) -m pipelines lr-range $(PRESET) $(ARGS)

tune: $(STAMP)  ## choose settings of a host from video labels alone: cache/data/<dataset>/tuned.json, runs/<preset>-tune/tune.html
	@$(PY) -m pipelines tune $(PRESET) $(ARGS)

eval: $(STAMP)  ## localize actions in the test videos and print the mAP
	@$(PY) -m pipelines eval $(PRESET) $(ARGS)

export-model: $(STAMP)  ## write a trained model as an ONNX file, checked against PyTorch: ARGS="--run runs/demo --output model.onnx"
	@$(PY) -m pipelines export-model $(PRESET) $(ARGS)

evaluate-file: $(STAMP)  ## score a results JSON of any program: ARGS="--detections D.json --annotations A.json --protocol thumos14-210"
	@$(PY) -m pipelines evaluate-file $(ARGS)

# Runs come from the Hub and go there, whatever the preset.
predict push: export HF_HUB_OFFLINE := $(ASKED_OFFLINE)

predict: $(STAMP)  ## find actions in new videos with a trained run (docs/predict.md): ARGS="clip.mp4 --run runs/demo"
	@$(PY) -m pipelines predict $(ARGS)

push: $(STAMP)  ## upload the inference part of a run to the Hugging Face Hub: ARGS="--run runs/demo --to owner/name"
	@$(PY) -m pipelines push $(ARGS)

diagnose: $(STAMP)  ## analyse the errors of detections and their completeness: runs/<name>/diagnosis.json
	@$(PY) -m pipelines diagnose $(PRESET) $(ARGS)

report: $(STAMP)  ## write the HTML report of a run: runs/<name>/report.html
	@$(PY) -m pipelines report $(PRESET) $(ARGS)

compare: $(STAMP)  ## compare the mAP of several runs; ARGS="--runs runs/a runs/b --html compare.html" for a page
	@$(PY) -m pipelines compare $(PRESET) $(ARGS)

# One command, four tables; an interrupted table continues when it is run again.
TABLE = $(PY) -m pipelines $@ $(PRESET) --seeds $(SEEDS) $(ARGS)

table3: $(STAMP)  ## the paper's Table 3 over SEEDS=3 seeds: host alone, + head, + KSM, + CSR, + both
	@$(TABLE)

table4: $(STAMP)  ## the paper's Table 4: every host alone and with MLLM4WTAL
	@$(TABLE)

table5: $(STAMP)  ## the paper's Table 5: descriptions of the MLLM, class names, a template
	@$(TABLE)

ablations: $(STAMP)  ## ablations of single options of the full model: ARGS="--groups gating mask contrast dpid"
	@$(TABLE)

inspect: $(STAMP)  ## show what the caches hold: counts, failures, samples; ARGS="--html gallery.html" for a page
	@$(PY) -m pipelines inspect $(PRESET) $(ARGS)

export: $(STAMP)  ## write the descriptions as JSONL or a Hugging Face dataset: ARGS="--to descriptions.jsonl"
	@$(PY) -m pipelines export $(PRESET) $(ARGS)

migrate: $(STAMP)  ## rename caches and tables of version 0.1 to their current names, so that they are reused
	@$(PY) -m pipelines migrate $(PRESET) $(ARGS)

bench-%: $(STAMP)  ## run a benchmark of benchmarks/ by its name: make bench-idle, bench-kill, bench-families, bench-parity ...
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) -m benchmarks $* $(ARGS)

cuda-wheels: $(STAMP)  ## download wheels/ for benchmarks/cuda/check.sh, the checks on a GPU machine without network
	@$(PY) -m benchmarks wheels $(ARGS)

test: lint types contracts pytest  ## run every check: lint, format, types, import contracts, tests

pytest: $(STAMP)  ## run the tests, or some of them: make pytest ARGS="tests/cache/tables/test_store.py -k resume" JOBS=2
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PY) -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

lint: $(STAMP)  ## check rules and format with ruff
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: $(STAMP)  ## fix and format with ruff
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

types: $(STAMP)  ## check types with pyright
	@$(PY) -m pyright --pythonpath $(PY)

contracts: $(STAMP)  ## check which package may import which (import-linter)
	@$(VENV)/bin/lint-imports --no-logo

clean:  ## remove temporary files of the tools (no caches of data, no runs)
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-demo:  ## remove the demo's videos, caches and runs
	rm -rf cache/data/demo cache/data/smoke runs/demo* runs/smoke*

clean-venv:  ## remove .venv
	rm -rf $(VENV)
