"""What this installation has, what it lacks, and the commands that mend it."""

import dataclasses
import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import Literal

from packaging.requirements import Requirement

DISTRIBUTION = "keras-dalle"
State = Literal["ok", "optional", "missing"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked for.
        state: "missing" keeps keras_dalle from working, "optional" does not.
        found: A version or a place; empty if there is none.
        mend: A shell command; empty if nothing is to be done.
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
                mend = f'pip install "{DISTRIBUTION}[{extra}]"'
                yield _package_check(requirement, "optional", mend)


def _package_check(requirement: Requirement, otherwise: State, mend: str) -> Check:
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
        return Check("devices", "missing", str(error), "pip install tensorflow==2.20.*")
    names = [device.name for device in tf.config.list_logical_devices()]
    return Check("devices", "ok", ", ".join(names))


def preset_check() -> Check:
    """The presets that came with the package."""
    from keras_dalle.commands.preset_names import shipped_presets

    names = list(shipped_presets())
    if names:
        return Check("shipped presets", "ok", ", ".join(names))
    return Check("shipped presets", "missing", "", "make emoji")


def font_check() -> Check:
    """The colour font, of which only training data are made."""
    from keras_dalle.data.emoji import INSTALL_FONT, find_font

    try:
        return Check("emoji font", "ok", str(find_font()))
    except FileNotFoundError:
        return Check("emoji font", "optional", "", INSTALL_FONT)


def shaping_check() -> Check:
    """Raqm with FriBidi, without which an emoji of several parts falls into them."""
    from PIL import features

    missing = [name for name in ("raqm", "fribidi") if not features.check(name)]
    if not missing:
        return Check("text shaping", "ok", f"raqm {features.version('raqm')}, fribidi")
    return Check(
        "text shaping",
        "optional",
        "no " + ", ".join(missing),
        "sudo apt-get install -y libraqm0 libfribidi0",
    )
