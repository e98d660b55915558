"""Orbit's trainer where the extra is missing; with it, `make test-orbit`."""

import importlib

import pytest


def test_missing_orbit_names_the_extra():
    with pytest.raises(ImportError, match=r"pip install 'keras-dalle\[orbit\]'"):
        importlib.import_module("keras_dalle.trainer.orbit_trainer")
