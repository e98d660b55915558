# Every target does all its own set-up, on a fresh machine too.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PYTEST_FLAGS ?=
BIN := .venv/bin
FONT_PACKAGES := fontconfig fonts-dejavu-core fonts-noto-color-emoji libfribidi0
PRESET := keras_dalle/presets/emoji_tiny

# Make would expand a $ and the shell a quote; by way of the environment neither does.
override PROMPT := $(value PROMPT)
export PROMPT

# $(call apt_install,PACKAGES) works as root, or by a sudo that asks no password.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
apt_install = { command -v apt-get && $(SUDO) true; } > /dev/null 2>&1 && \
	{ $(SUDO) apt-get update -q; $(SUDO) apt-get install -q -y $(1); }

.PHONY: demo test test-orbit lint emoji setup development font network

demo: setup  ## Pictures from words, through SavedModel, server and client.
	$(BIN)/keras-dalle demo --output out/demo.png $(if $(PROMPT),-- "$$PROMPT")

test: development font network  ## All tests.
	$(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

test-orbit: .venv-orbit/installed  ## Orbit's tests, in an environment of their own.
	.venv-orbit/bin/python -m pytest tests/trainer/orbit_trainer_with_orbit.py

lint: development  ## Lint, format check and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Trainings that were stopped go on where they were, and finished ones are not
# repeated: remove runs/ to start anew. There is a preset at every moment: the old one
# leaves its place for the new one only when that is complete.
emoji: setup font  ## Everything from the font to the shipped preset and its figures.
	$(BIN)/keras-dalle prepare-data --data-dir runs/emoji_data
	$(BIN)/keras-dalle train --recipe emoji_vqgan --run-dir runs/emoji_vqgan
	$(BIN)/keras-dalle train --recipe emoji_tiny --run-dir runs/emoji_tiny
	rm -rf $(PRESET).new
	cp -r runs/emoji_tiny/preset $(PRESET).new
	if [ -d $(PRESET) ]; then rm -rf $(PRESET).old && mv $(PRESET) $(PRESET).old; fi
	mv $(PRESET).new $(PRESET)
	rm -rf $(PRESET).old
	$(BIN)/keras-dalle evaluate emoji_tiny --output docs/emoji
	$(BIN)/keras-dalle demo --output docs/emoji/demo.png

setup: .venv/installed

development: .venv/installed-development

.venv/installed-development: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,torch]"
	touch $@

# What .venv has, by a path, and Orbit, whose modules import tf_keras; .venv and all that
# is delivered are free of that. Orbit itself needs none of the other requirements.
.venv-orbit/installed: .venv/installed-development
	rm -rf .venv-orbit
	$(BIN)/python -m venv --without-pip .venv-orbit
	$(BIN)/python -c "import sysconfig; path = sysconfig.get_path('purelib'); \
		print(f'import site; site.addsitedir({path!r})')" > \
		"$$(.venv-orbit/bin/python -c \
		"import sysconfig; print(sysconfig.get_path('purelib'))")/development.pth"
	$(BIN)/python -m pip --python .venv-orbit/bin/python install --quiet --no-deps \
		-c constraints.txt tf-models-official tf_keras
	touch $@

.venv/installed: setup.py constraints.txt
	@[ -n "$(PYTHON)" ] || { \
		echo "No python3 was found. Install Python 3.11, or say where it is:"; \
		echo "  make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2> /dev/null || { \
		package=$$($(PYTHON) -c \
			"import sys; print('python%d.%d-venv' % sys.version_info[:2])") && \
		{ $(call apt_install,$$package) || { \
			echo "$(PYTHON) lacks venv: sudo apt-get install $$package"; exit 1; }; }; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

# Some tests draw real emoji and letters. Without the fonts they are skipped.
font:
	@dpkg -s $(FONT_PACKAGES) > /dev/null 2>&1 || \
	{ $(call apt_install,$(FONT_PACKAGES)); } || \
	echo "Warning: no fonts for the tests. Install them: sudo apt-get install $(FONT_PACKAGES)"

# `ip`, by which a test connects two network namespaces.
network:
	@command -v ip > /dev/null || { $(call apt_install,iproute2); } || \
	echo "Warning: no ip command. Install it: sudo apt-get install iproute2"
