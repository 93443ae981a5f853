# make run starts the server; make test sets everything up and runs the tests.
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
CLIP_OPTION = $(if $(CLIP),--clip $(CLIP))

.PHONY: setup run test check bench browser rtsp clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup
	$(BIN)/puppetcast serve --port $(PORT)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Chromium comes from the distribution; without it the browser tests are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || (command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null) \
	  || echo "*** Chromium is absent and cannot be installed: the browser tests will be SKIPPED ***"

# A real RTSP server for the tests of network cameras; it runs on the system's Python.
RTSP := python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
rtsp:
	@/usr/bin/python3 -c "import gi; gi.require_version('GstRtspServer', '1.0')" 2>/dev/null \
	  || (command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends $(RTSP) >/dev/null) \
	  || echo "*** GStreamer's RTSP server is absent and cannot be installed: network cameras will not be tested ***"

test: setup browser rtsp check
	$(BIN)/pytest

bench: setup
	$(BIN)/puppetcast bench mesh $(CLIP_OPTION)
	$(BIN)/puppetcast bench live $(CLIP_OPTION)
	$(BIN)/puppetcast bench viewers $(CLIP_OPTION)
	$(BIN)/puppetcast bench sessions $(CLIP_OPTION)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
