# make run starts the server; make test sets everything up and runs the tests.
VENV ?= .venv
BIN := $(VENV)/bin
PORT_OPTION = $(if $(PORT),--port $(PORT))
CLIP_OPTION = $(if $(CLIP),--clip $(CLIP))
CHECK_OPTION = $(if $(CHECK),--check)

# The liveportrait engine brings PyTorch along: 'make run' installs it where there is an NVIDIA device, or where asked for.
ENGINE ?= auto
HEAVY := $(if $(filter liveportrait,$(ENGINE))$(shell command -v nvidia-smi),liveportrait)
# A further package index, with PyTorch's processor build; on Linux, PyPI has the one for CUDA, of several gigabytes.
TORCH_INDEX ?=
# What the tests are run with; 'make test VENV=.venv-mesh EXTRAS=dev' is without PyTorch, and says what it skips.
EXTRAS ?= dev,fleet,liveportrait
comma := ,
# pip shows its progress where somebody can see it. Bytecode is made of what is imported, when it is: of all of it, that would
# take longer than the rest.
PIP = quiet=--quiet; [ -t 1 ] && quiet=; $(BIN)/python -m pip install --no-compile $$quiet
define INSTALL
	@echo "Installing puppetcast$(2) into $(VENV), once, in one to ten minutes by your network."
	@python3 -m venv $(VENV)
	@$(PIP) --upgrade pip
	@$(PIP) --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.$(1)'
	@touch $@
endef

# What tests import, made into bytecode by two processes: each of the tests' workers would make all of it at the same time.
READ_ONCE = $(BIN)/python -c "import torch._dynamo" 2>/dev/null & $(BIN)/python -c "import scipy.interpolate, tests.conftest"; wait

.PHONY: setup run test proofs quick check style bench gpu-crops gpu-report browser peers faults floors fuzz soak image image-check lock digests release docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(call INSTALL,[$(EXTRAS)],$(comma) PyTorch and what the tests need (2 GB on disk; 6 GB where pip gets PyTorch for CUDA))
	@$(READ_ONCE)
	@touch $(VENV)/.run $(VENV)/.runliveportrait

$(VENV)/.run$(HEAVY): pyproject.toml constraints.txt
	$(call INSTALL,$(if $(HEAVY),[$(HEAVY)]),$(if $(HEAVY), and PyTorch (2 GB on disk; 6 GB where pip gets it for CUDA), (0.9 GB on disk)))

run: $(VENV)/.run$(HEAVY)
	$(BIN)/puppetcast serve $(PORT_OPTION) --engine $(ENGINE)

TYPES = if $(BIN)/python -c "import torch" 2>/dev/null; then $(BIN)/mypy; \
  else echo "*** PyTorch is absent: types are NOT CHECKED ***"; fi
check: style
	@$(TYPES)

style: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Chromium comes from the distribution; without it the browser tests are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || (command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null) \
	  || echo "*** Chromium is absent and cannot be installed: the browser tests will be SKIPPED ***"

# Servers and clients that others wrote, for the tests: an RTSP server and a WebRTC peer (GStreamer, on the system's
# Python), a TURN server, an SFU, FFmpeg, an MQTT broker, a sound server, Redis, npm for WHIP and WHEP clients, and ip, which makes hosts
# of their own.
PEERS := python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-nice glib-networking coturn \
  ffmpeg janus mosquitto iproute2 pulseaudio pulseaudio-utils redis-server
GSTREAMER := import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstWebRTC', '1.0'); \
  from gi.repository import Gio; assert Gio.TlsBackend.get_default().supports_tls()
peers:
	@(command -v turnserver && command -v ffmpeg && command -v janus && command -v mosquitto && command -v pulseaudio && command -v redis-server && command -v ip && command -v npm \
	  && /usr/bin/python3 -c "$(GSTREAMER)") >/dev/null 2>&1 \
	  || (command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends $(PEERS) >/dev/null \
	    && (command -v npm >/dev/null || apt-get install -y -qq --no-install-recommends npm >/dev/null)) \
	  || echo "*** other people's servers and clients cannot be installed: network cameras and foreign peers will not be tested ***"

# Tests start the program again and again: it is to be read from bytecode, whatever the shell around has set.
test proofs quick: export PYTHONDONTWRITEBYTECODE :=

# On three workers, as tests also wait; with WORKERS=0 one test after the other, in this process. What takes long is left to
# 'make proofs', and types to 'make check': .ci/run makes all three.
test proofs: WORKERS ?= 3
test: setup browser peers style
	$(BIN)/pytest -m "not long" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What takes minutes of a processor by a few tests: LivePortrait in full size against what its published code computes, compiled
# kernels, a fleet whose parts are killed, other people's clients, axe in each state of the page, a browser behind a bad line, the
# README's commands, each clip and each portrait.
proofs: setup browser peers
	$(BIN)/pytest -m long -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The everyday part, in a minute and a half: units, without whole networks, long clips and whatever else takes a processor more
# than a second or two, which is marked 'slow', and without types. On two workers, as units do not wait, and a third would import
# all once more.
quick: WORKERS ?= 2
quick: style
	$(BIN)/pytest tests/unit -m "not slow and not long" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# CHECK=1 holds the figures against the committed ones of this class of machine, which are of the clip d10.
bench: setup
	$(BIN)/puppetcast bench mesh $(CLIP_OPTION) $(CHECK_OPTION)
	$(BIN)/puppetcast bench live $(CLIP_OPTION) $(CHECK_OPTION)
	$(BIN)/puppetcast bench viewers $(CLIP_OPTION) $(CHECK_OPTION)
	$(BIN)/puppetcast bench sessions $(CLIP_OPTION) $(CHECK_OPTION)
	$(BIN)/puppetcast bench outputs $(CHECK_OPTION)

# LivePortrait on a machine with an NVIDIA GPU: needs torch, NumPy and safetensors alone, ten minutes and 2 GB in WORK.
# The crops of a driver are made before, where the whole program is, and go along; GOLDEN is a folder of golden files.
WORK ?= out/gpu
CROPS ?= out/crops.npz
GPU_PYTHON ?= $(firstword $(wildcard $(BIN)/python) python3)
gpu-crops: setup
	@mkdir -p $(dir $(CROPS))
	$(BIN)/python -m bench.gpu.footage $(CROPS) $(CLIP)

gpu-report:
	@command -v nvidia-smi >/dev/null || { echo "gpu-report: no NVIDIA device is here (nvidia-smi is missing)"; exit 1; }
	$(GPU_PYTHON) bench/gpu_report.py $(WORK) $(WORK)/report $(if $(wildcard $(CROPS)),--crops $(CROPS)) $(if $(GOLDEN),--golden $(GOLDEN))

# The steps of the container images, run here: for machines without a container engine.
image-check: setup
	$(BIN)/python -m tests.run_image Dockerfile.cpu

# Some sixty faults, five times each, in half an hour; writes docs/reliability.md. ONLY=engine, or QUICK=1, tries some, or all
# once, and writes nothing; REST=1 tries those that the last run had no time for, and puts their rows into its results. Wants 'make peers', and root for hosts of their own and a small disk.
faults: setup
	$(BIN)/python -m bench.faults $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick) $(if $(REST),--rest) $(if $(NOTE),--note '$(NOTE)')

# The units on the lowest versions that pyproject.toml allows; PyTorch's first, as on other machines it comes from TORCH_INDEX.
FLOORS := out/floors/bin
floors:
	python3 -m venv out/floors
	$(FLOORS)/pip install --quiet uv $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) 'torch==$(shell sed -n 's/.*"torch>=\([0-9.]*\)".*/\1/p' pyproject.toml).*'
	$(FLOORS)/uv pip install --quiet --python $(FLOORS)/python --resolution lowest-direct --editable '.[dev,liveportrait]'
	$(FLOORS)/python -m pytest tests/unit

# The processor image by buildah (root, Debian), run without any right, watched, scraped and ended. BASE=debian makes the base
# image of Debian's packages, where no registry is.
image: setup
	BASE=$(BASE) $(BIN)/python -m tests.built_image

# Everything that reads what strangers send, tried with what nobody would send; MIN minutes in all, TARGETS= for some.
MIN ?= 10
fuzz: $(VENV)/.fuzz
	$(BIN)/python -W ignore -m tests.fuzz --minutes $(MIN) $(TARGETS)

$(VENV)/.fuzz: $(VENV)/.ready
	@$(PIP) --constraint constraints.txt --editable '.[dev,fuzz]'
	@touch $@

# Everything at random for MIN minutes, by a seed, and whether anything grows; CYCLES=1000 instead publishes and watches so often.
SEED ?= 1
soak: setup
	$(BIN)/python -m tests.soak --minutes $(MIN) --seed $(SEED) $(if $(CYCLES),--cycles $(CYCLES)) -o out/soak.json

# docker/requirements.txt: the image's packages, each with the hashes of its files.
lock:
	python3 -m venv out/lock && out/lock/bin/pip install --quiet uv
	echo hatchling | UV_CUSTOM_COMPILE_COMMAND="make lock" out/lock/bin/uv pip compile pyproject.toml - --universal --python-version 3.11 \
	  --constraint constraints.txt --generate-hashes --no-annotate --quiet --output-file docker/requirements.txt

# The images of others that docker/ names, each by the digest of now; where Docker's registry can be reached.
digests: setup
	$(BIN)/python -m tools.digests docker

# What is passed on: wheel, list of its parts (CycloneDX), their licences.
release: setup
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir out/release .
	$(BIN)/python -m tools.parts docker/requirements.txt out/release

# The references in docs/ and the shipped config, made from the code.
docs: setup
	$(BIN)/python -m tools.reference .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
