# Every target does all its own set-up, on a fresh machine too.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROMPT ?=
PYTEST_FLAGS ?=
BIN := .venv/bin
FONT_PACKAGES := fonts-noto-color-emoji libfribidi0
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint emoji setup font

demo: setup  ## Pictures from words, through SavedModel, server and client.
	$(BIN)/keras-dalle demo $(if $(PROMPT),"$(PROMPT)") --output out/demo.png

test: setup font  ## All tests.
	$(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

lint: setup  ## Lint, format check and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

emoji: setup font  ## Everything from the font to the shipped preset and its figures.
	$(BIN)/keras-dalle train --recipe emoji_vqgan --run-dir runs/emoji_vqgan
	$(BIN)/keras-dalle train --recipe emoji_tiny --run-dir runs/emoji_tiny
	rm -rf keras_dalle/presets/emoji_tiny
	cp -r runs/emoji_tiny/preset keras_dalle/presets/emoji_tiny
	$(BIN)/keras-dalle evaluate emoji_tiny --output docs/emoji

setup: .venv/installed

.venv/installed: setup.py constraints.txt
	$(PYTHON) -m venv .venv || { echo "Needed: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

# The tests draw real emoji.
font:
	@dpkg -s $(FONT_PACKAGES) > /dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -q && apt-get install -q -y $(FONT_PACKAGES); \
	else \
		echo "Some tests need packages: sudo apt-get install $(FONT_PACKAGES)"; \
	fi
