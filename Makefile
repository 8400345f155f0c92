# Everything a user types. `make help` lists it. Every target sets up what it needs in .venv first; a stamp makes the second call start at once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install --no-compile -c constraints.txt -c constraints-gpu.txt

# Without SOURCE, a ROOT is a folder of videos, and without both the sample clips are rendered.
OUT ?= outputs/curation
PROFILE ?= embedded
ARGS ?=

STAGE ?= 1
CONFIG ?= embedded
MANIFEST ?= outputs/people-curation
# OUT has a default of its own in every target but curation's: hand it on only where somebody chose it.
given = $(if $(filter command environment,$(firstword $(origin $(1)))),$(2) '$($(1))')

TARGETS := help setup setup-people setup-train setup-gpu setup-cpu doctor accept-gpu curate samples people plan models report table1 materialise \
  duplicates train-lipsync \
  train train-all adapt embedded-weights plan-training animate app evaluate demo test test-all lint \
  bench-curation bench-syncnet bench-scaling bench-model bench-training bench-overfit bench-threads bench-demo bench-anyone bench-inference bench-evaluation bench-people truth truth-ablations constraints clean
.PHONY: $(TARGETS)

# make passes over a word that is a folder's name, and a variable that nothing reads: samples would be curated in place of somebody's videos.
VARIABLES := SOURCE ROOT OUT PROFILE ARGS STAGE CONFIG MANIFEST INIT REFERENCE DRIVING AUDIO PRED REAL PYTHON
no_targets := $(filter-out $(TARGETS) $(VENV)/% outputs/people-curation/manifest.parquet,$(MAKECMDGOALS))
no_variables := $(filter-out $(VARIABLES) SHELL VENV BIN PIP EXAMPLES,$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(if $(no_targets),$(error no target is called $(firstword $(no_targets)): make help lists them; a folder of videos is given as ROOT=my/videos, in quotes if it has blanks))
$(if $(no_variables),$(error nothing reads $(firstword $(no_variables)): the variables are $(VARIABLES)))

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make curate ROOT=my/videos OUT=outputs/mine PROFILE=embedded ARGS='--set workers=2 --limit 100'"
	@echo "  The same and more: $(BIN)/python -m curation --help"

# --- set-up --------------------------------------------------------------------------------------------------------------------------
$(VENV)/.python: 
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	@echo "setting up $(VENV) (about a minute, under 1 GB)"
	$(PIP) -e '.[samples]'
	@touch $@

$(VENV)/.people: $(VENV)/.core
	@echo "adding numba, which renders people (200 MB)"
	$(PIP) -e '.[people]'
	@touch $@

$(VENV)/.train: $(VENV)/.people requirements-nodeps.txt
	@echo "adding torch and what the trainer and the tests need (several GB, some minutes)"
	$(PIP) -e '.[train,eval,app,dev,$(if $(wildcard $(VENV)/.gpu),gpu,cpu)]'
	$(PIP) --no-deps -r requirements-nodeps.txt
	@touch $@

# The two onnxruntimes share one folder: the stamp says which one this environment has, so that setting up .train again leaves it in place.
$(VENV)/.gpu: $(VENV)/.train constraints-gpu.txt
	$(BIN)/python -m pip uninstall -q -y onnxruntime onnxruntime-gpu
	$(PIP) -e '.[gpu]'
	@touch $@

setup-gpu: $(VENV)/.gpu ## setup-train with onnxruntime for CUDA 13 in place of the CPU's (driver 580 or newer); `make setup-cpu` goes back
	$(BIN)/python -m training doctor --gpu

setup-cpu: $(VENV)/.train ## onnxruntime for the CPU again, after setup-gpu
	rm -f $(VENV)/.gpu
	$(BIN)/python -m pip uninstall -q -y onnxruntime onnxruntime-gpu
	$(PIP) -e '.[cpu]'

setup: $(VENV)/.core ## .venv with the embedded curation (no torch)
setup-people: $(VENV)/.people ## the same with numba, to render people
setup-train: $(VENV)/.train ## the same with torch, diffusers, transformers and the test tools

doctor: $(VENV)/.train ## does this machine carry it? driver, torch's build, compiler, shared memory, onnxruntime, all-reduce, disk
	$(BIN)/python -m training doctor $(ARGS)

accept-gpu: $(VENV)/.train ## the first hour on a GPU: everything that only a device can prove, to outputs/accept (ARGS="--part tests")
	$(BIN)/python -m benchmarks.accept_gpu $(ARGS)

# --- curation ------------------------------------------------------------------------------------------------------------------------
curate: $(VENV)/$(if $(filter people,$(SOURCE)),.people,.core) ## score and filter clips into OUT/manifest.parquet and OUT/report.html (default: rendered sample clips)
	$(BIN)/python -m curation run $(call given,SOURCE,--source) $(call given,ROOT,--root) --out '$(OUT)' --profile '$(PROFILE)' $(ARGS)

samples: $(VENV)/.core ## render the sample clips into outputs/samples
	$(BIN)/python -m curation samples --out outputs/samples

people: $(VENV)/.people ## render talking people with planted truth into outputs/people (make people ARGS="--count 600")
	$(BIN)/python -m curation people $(ARGS)

plan: $(VENV)/$(if $(filter people,$(SOURCE)),.people,.core) ## what `make curate` with the same SOURCE and ROOT would cost
	$(BIN)/python -m curation plan $(call given,SOURCE,--source) $(call given,ROOT,--root) --profile '$(PROFILE)' $(ARGS)

models: $(VENV)/.core ## make models PROFILE=paper: fetch and verify weights, saying what each is for and how to get what is missing by hand
	$(BIN)/python -m curation models fetch --profile '$(PROFILE)' $(ARGS)

report: $(VENV)/.core ## write OUT/report.html again
	$(BIN)/python -m curation report '$(OUT)' $(ARGS)

table1: $(VENV)/.core ## the paper's Table 1 beside ours: make table1 ARGS="outputs/hdtf outputs/voxceleb2"
	$(BIN)/python -m curation table1 $(or $(ARGS),outputs/curation)

materialise: $(VENV)/.core ## face-centred clips of one size: make materialise MANIFEST=outputs/hdtf OUT=outputs/hdtf-512
	$(BIN)/python -m curation materialise '$(MANIFEST)' --out '$(if $(call given,OUT,),$(OUT),outputs/materialised)' $(ARGS)

train-lipsync: $(VENV)/.train ## train the landmark lip-sync network: make train-lipsync MANIFEST=outputs/mine OUT=outputs/lipsync
	$(BIN)/python -m curation train-lipsync '$(MANIFEST)' --out '$(if $(call given,OUT,),$(OUT),outputs/lipsync)' $(ARGS)

# --- training ------------------------------------------------------------------------------------------------------------------------
# Without a manifest sixty people are rendered and curated first.
outputs/people-curation/manifest.parquet:
	$(MAKE) curate SOURCE=people ROOT=outputs/people OUT=outputs/people-curation ARGS=

train: $(VENV)/.train $(if $(filter outputs/people-curation,$(MANIFEST)),outputs/people-curation/manifest.parquet) ## one stage: make train STAGE=1 [CONFIG=paper MANIFEST=outputs/hdtf OUT=runs/s1 INIT=runs/s0]
	$(BIN)/python -m training --stage $(STAGE) --config '$(CONFIG)' --manifest '$(MANIFEST)' $(call given,OUT,--out) $(call given,INIT,--init) $(ARGS)

train-all: ## the three stages one after the other (embedded: about 19 minutes on two cores, after the people are rendered)
	$(MAKE) train STAGE=1
	$(MAKE) train STAGE=2
	$(MAKE) train STAGE=3

adapt: $(VENV)/.train ## the packaged model adapted to one face, some minutes: make adapt REFERENCE=me.png [OUT=runs/me], then animate with ARGS="--model runs/me/run"
	$(BIN)/python -m training adapt --reference '$(REFERENCE)' --out '$(if $(call given,OUT,),$(OUT),runs/adapted)' $(ARGS)

embedded-weights: $(VENV)/.train ## train what comes with the package again, in outputs/weights: people, decoder, stages; says how many hours; may be killed
	$(BIN)/python -m training weights $(ARGS)

plan-training: $(VENV)/.train ## what a stage would cost: make plan-training STAGE=1 CONFIG=paper ARGS="--gpu h100 --dollars-per-hour 2"
	$(BIN)/python -m training plan --stage $(STAGE) --config '$(CONFIG)' $(ARGS)

# --- inference -----------------------------------------------------------------------------------------------------------------------
# The model: --model in ARGS, else what was trained here (runs/), else the one that comes with the package.
EXAMPLES := inference/studio/examples
animate: $(VENV)/.train ## make animate [REFERENCE=me.png] [DRIVING=you.mp4] [AUDIO=speech.wav] [OUT=out.mp4] [ARGS="--motion 0.5"]; without files: rendered people
	$(BIN)/python -m inference animate $(or $(call given,REFERENCE,--reference),--reference $(EXAMPLES)/portrait_1.jpg) \
	  $(or $(call given,DRIVING,--driving)$(call given,AUDIO, --audio),--driving $(EXAMPLES)/speaks.mp4) \
	  --out '$(if $(call given,OUT,),$(OUT),out.mp4)' $(ARGS)

app: $(VENV)/.train ## the same in the browser
	$(BIN)/python -m inference app $(ARGS)

evaluate: $(VENV)/.train ## score videos: make evaluate PRED=results/ours REAL=data/hdtf_test OUT=outputs/eval
	$(BIN)/python -m inference.evaluation run $(PRED) --real '$(REAL)' --out '$(if $(call given,OUT,),$(OUT),outputs/eval)' $(ARGS)

demo: $(VENV)/.train ## rendered people, curation, three stages, animation, evaluation: one page, outputs/demo/index.html (--quick: an untrained look)
	$(BIN)/python -m training.demo --out '$(if $(call given,OUT,),$(OUT),outputs/demo)' $(ARGS)

# --- model ---------------------------------------------------------------------------------------------------------------------------
bench-model: $(VENV)/.train ## speed of the transformers beside the matrix-product ceiling and diffusers' PixArt
	$(BIN)/python -m benchmarks.model $(ARGS)

duplicates: $(VENV)/.core ## join manifests and mark clips of one video under two data sets: make duplicates ARGS="outputs/a outputs/b --out all.parquet"
	$(BIN)/python -m curation duplicates $(ARGS)

$(VENV)/.peers: $(VENV)/.train requirements-peers.txt
	rm -rf $(VENV)/peers/syncnet
	$(BIN)/python -m pip --disable-pip-version-check install -q --no-deps --target $(VENV)/peers/syncnet -r requirements-peers.txt
	@touch $@

bench-syncnet: $(VENV)/.peers ## SyncNet beside syncnet-python's pipeline
	$(BIN)/python -m benchmarks.syncnet $(ARGS)

bench-scaling: $(VENV)/.train ## a cluster of 1 to 1,000 workers, simulated
	$(BIN)/python -m benchmarks.scaling $(ARGS)

bench-training: $(VENV)/.train ## the trainer's loader and step beside their floors
	$(BIN)/python -m benchmarks.training_loader $(ARGS)
	$(BIN)/python -m benchmarks.training $(ARGS)

bench-overfit: $(VENV)/.train ## do the three stages learn what they should, on one clip? (9 minutes)
	$(BIN)/python -m benchmarks.training_overfit $(ARGS)

bench-threads: $(VENV)/.train ## a training step idle and beside busy loops, by how threads wait
	$(BIN)/python -m benchmarks.threads $(ARGS)

bench-demo: $(VENV)/.train ## does the trained model follow what drives it?
	$(BIN)/python -m benchmarks.trained_demo $(ARGS)

bench-inference: $(VENV)/.train ## seconds a frame of every preset beside the FLOP floor
	$(BIN)/python -m benchmarks.inference $(ARGS)

bench-evaluation: $(VENV)/.train ## videos a second beside the decode and network floor
	$(BIN)/python -m benchmarks.evaluation $(ARGS)

# --- quality -------------------------------------------------------------------------------------------------------------------------
# Many tests start programs of their own: without bytecode on disk each of them compiles torch's, Ray's and our files again, some 3 s.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.train ## the test suite (what CI runs)
	$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/.train ## the slow tests and those on the real corpus too
	$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

lint: $(VENV)/.train ## ruff and mypy (what CI runs before the tests)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-anyone: $(VENV)/.train ## does the packaged model move real faces that it never saw? beside controls (needs a corpus of clips: ARGS="--corpus DIR")
	$(BIN)/python -m benchmarks.anyone $(ARGS)

truth: $(VENV)/.train ## what drives what, with planted motion: does each part of a face follow its own signal, and leak from others? (--docs: docs/truth.md)
	$(BIN)/python -m benchmarks.truth $(ARGS)

truth-ablations: $(VENV)/.train ## the same of models trained without one of the paper's cures each, on people whose lids follow the mouth (ARGS=--plan: hours)
	$(BIN)/python -m benchmarks.truth.ablations $(ARGS)

bench-people: $(VENV)/.train ## curation measured on rendered people, by group: landmarks, pose, lip sync, who survives each preset
	$(BIN)/python -m benchmarks.people $(ARGS)

bench-curation: $(VENV)/.train ## speed of the curation beside its floors
	$(BIN)/python -m benchmarks.curation $(ARGS)

constraints: ## write constraints.txt from the packages in .venv
	$(BIN)/python -m pip freeze --exclude-editable | grep -v -f <(sed 's,==.*,,;/^\#/d' requirements-nodeps.txt constraints-gpu.txt) > constraints.new && mv constraints.new constraints.txt

clean: ## remove what the targets made, but not .venv
	rm -rf outputs build dist .pytest_cache .ruff_cache .mypy_cache
