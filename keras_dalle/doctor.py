"""What this installation has, what it lacks, and the commands that mend it."""

import dataclasses
import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "keras-dalle"
REINSTALL = (
    f"pip install --force-reinstall --no-deps {DISTRIBUTION}, from where it came from"
)
INSTALL_PACKAGES = "install the packages that are missing above"
# Their requirements bring TFLite, which this package's environment does without.
APART = ("orbit",)
State = Literal["ok", "optional", "missing"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked for.
        state: "missing" keeps keras_dalle from working, "optional" does not.
        found: A version or a place; empty if there is none.
        mend: What to do, mostly a shell command; empty if nothing is to be done.
    """

    name: str
    state: State
    found: str
    mend: str = ""


def run_checks() -> list[Check]:
    """All checks. Imports TensorFlow."""
    return [
        Check("python", "ok", f"{platform.python_version()} ({sys.executable})"),
        *package_checks(),
        devices_check(),
        preset_check(),
        font_check(),
        shaping_check(),
    ]


def package_checks() -> Iterator[Check]:
    """One check a requirement, as this package's own metadata names them."""
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        yield Check("packaging", "missing", str(error), "pip install packaging")
        return
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(DISTRIBUTION, "missing", "", "pip install -e .")
        return
    extras = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra", [])
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package_check(requirement, "missing", f'pip install "{requirement}"')
            continue
        for extra in extras:
            if requirement.marker.evaluate({"extra": extra}):
                yield _package_check(requirement, "optional", _install_extra(extra))


def _install_extra(extra: str) -> str:
    command = f'pip install "{DISTRIBUTION}[{extra}]"'
    return f"in an environment of its own: {command}" if extra in APART else command


def _package_check(requirement: "Requirement", otherwise: State, mend: str) -> Check:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Check(requirement.name, otherwise, "", mend)
    if not requirement.specifier.contains(version, prereleases=True):
        found = f"{version}, not {requirement.specifier}"
        return Check(requirement.name, otherwise, found, mend)
    return Check(requirement.name, "ok", version)


def devices_check() -> Check:
    """The devices that TensorFlow sees."""
    try:
        import tensorflow as tf
    except ImportError as error:
        return Check("devices", "missing", str(error), INSTALL_PACKAGES)
    names = [device.name for device in tf.config.list_logical_devices()]
    return Check("devices", "ok", ", ".join(names))


def preset_check() -> Check:
    """The presets that came with the package."""
    from keras_dalle.commands.preset_names import shipped_presets

    names = list(shipped_presets())
    if names:
        return Check("shipped presets", "ok", ", ".join(names))
    return Check("shipped presets", "missing", "", REINSTALL)


def font_check() -> Check:
    """Looks for the colour font of the training data and of emoji in labels."""
    try:
        from keras_dalle.data.emoji import INSTALL_FONT, find_font
    except ImportError as error:
        return Check("emoji font", "missing", str(error), INSTALL_PACKAGES)
    try:
        return Check("emoji font", "ok", str(find_font()))
    except FileNotFoundError:
        return Check("emoji font", "optional", "", INSTALL_FONT)


def shaping_check() -> Check:
    """Raqm with FriBidi, without which an emoji of several parts falls into them."""
    try:
        from PIL import features

        from keras_dalle.data.emoji import INSTALL_SHAPING
    except ImportError as error:
        return Check("text shaping", "missing", str(error), INSTALL_PACKAGES)
    missing = [name for name in ("raqm", "fribidi") if not features.check(name)]
    if not missing:
        return Check("text shaping", "ok", f"raqm {features.version('raqm')}, fribidi")
    found = "no " + ", ".join(missing)
    return Check("text shaping", "optional", found, INSTALL_SHAPING)
