"""Version folders under a model's base path, named as TF Serving names them."""

from pathlib import Path


def parse_version(name: str) -> int | None:
    """The version a folder name stands for (`00000123` is 123), None for others."""
    return int(name) if name.isascii() and name.isdecimal() else None


def list_versions(base_path: str | Path) -> dict[int, Path]:
    """Version folders under `base_path`, lowest version first.

    Raises:
        OSError: `base_path` cannot be listed.
    """
    versions = {}
    for child in Path(base_path).iterdir():
        version = parse_version(child.name)
        if version is not None and child.is_dir():
            versions[version] = child
    return dict(sorted(versions.items()))
