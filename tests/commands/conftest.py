"""Models of the command line's tests."""

import pytest

from tests.tiny_preset import tiny_task


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """An untrained task, of which a preset is in its `folder`."""
    task = tiny_task()
    task.folder = tmp_path_factory.mktemp("presets") / "tiny"
    task.save_to_preset(str(task.folder))
    return task
