import importlib.metadata
import sys

import pytest
from typer.testing import CliRunner

from keras_dalle import doctor
from keras_dalle.cli import app

REQUIREMENTS = [
    "numpy>=1",
    "grpcio<0.1",
    "no-such-package-a>=2",
    'no-such-package-b; extra == "ui"',
    'no-such-package-c; extra == "orbit"',
    'not-here; python_version < "3"',
]


@pytest.fixture
def requirements(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIREMENTS)

    class Metadata:
        def get_all(self, *_):
            return ["ui", "orbit"]

    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: Metadata())


def test_packages_are_checked_against_the_metadata(requirements):
    checks = {check.name: check for check in doctor.package_checks()}
    assert checks["numpy"].state == "ok"
    assert checks["grpcio"].state == "missing"
    assert checks["grpcio"].mend == 'pip install "grpcio<0.1"'
    assert checks["no-such-package-a"].state == "missing"
    assert checks["no-such-package-b"].state == "optional"
    assert checks["no-such-package-b"].mend == 'pip install "keras-dalle[ui]"'
    assert checks["no-such-package-c"].mend == (
        'in an environment of its own: pip install "keras-dalle[orbit]"'
    )
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


@pytest.mark.parametrize(
    "module, check",
    [
        ("packaging.requirements", lambda: next(doctor.package_checks())),
        ("tensorflow", doctor.devices_check),
        ("emoji", doctor.font_check),
        ("PIL", doctor.shaping_check),
        ("rich.progress", doctor.shaping_check),
    ],
)
def test_missing_base_package_is_a_row(monkeypatch, module, check):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "keras_dalle.data.emoji", raising=False)
    row = check()
    assert row.state == "missing" and row.mend
    assert module.partition(".")[0] in row.found


def test_missing_preset_is_mended_by_an_installation(monkeypatch, tmp_path):
    monkeypatch.setattr("keras_dalle.commands.preset_names.PRESETS_DIRECTORY", tmp_path)
    check = doctor.preset_check()
    assert check.state == "missing"
    assert check.mend.startswith("pip install --force-reinstall")


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
