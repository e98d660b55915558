import importlib.metadata

import pytest
from typer.testing import CliRunner

from keras_dalle import doctor
from keras_dalle.cli import app

REQUIREMENTS = [
    "numpy>=1",
    "grpcio<0.1",
    "no-such-package-a>=2",
    'no-such-package-b; extra == "ui"',
    'not-here; python_version < "3"',
]


@pytest.fixture
def requirements(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIREMENTS)

    class Metadata:
        def get_all(self, *_):
            return ["ui"]

    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: Metadata())


def test_packages_are_checked_against_the_metadata(requirements):
    checks = {check.name: check for check in doctor.package_checks()}
    assert checks["numpy"].state == "ok"
    assert checks["grpcio"].state == "missing"
    assert checks["grpcio"].mend == 'pip install "grpcio<0.1"'
    assert checks["no-such-package-a"].state == "missing"
    assert checks["no-such-package-b"].state == "optional"
    assert checks["no-such-package-b"].mend == 'pip install "keras-dalle[ui]"'
    assert "not-here" not in checks


def test_not_installed(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    (check,) = doctor.package_checks()
    assert (check.state, check.mend) == ("missing", "pip install -e .")


def test_missing_font_is_optional_and_has_its_command(monkeypatch):
    monkeypatch.setattr("keras_dalle.data.emoji.FONT_PATHS", ())
    check = doctor.font_check()
    assert check.state == "optional"
    assert "fonts-noto-color-emoji" in check.mend


def test_missing_shaping_has_its_command(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: name != "fribidi")
    check = doctor.shaping_check()
    assert (check.state, check.found) == ("optional", "no fribidi")
    assert "libfribidi0" in check.mend


@pytest.mark.parametrize("state, exit_code", [("missing", 1), ("optional", 0)])
def test_exit_code_says_whether_something_required_is_missing(
    monkeypatch, state, exit_code
):
    checks = [doctor.Check("thing", state, "", "mend thing")]
    monkeypatch.setattr(doctor, "run_checks", lambda: checks)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == exit_code
    assert "mend thing" in result.output


def test_devices_are_listed():
    assert "CPU:0" in doctor.devices_check().found
