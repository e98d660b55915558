import concurrent.futures
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.saved_model import exporter, versions
from keras_dalle.saved_model.exporter import export_saved_model
from tests.limits import file_limit
from tests.toy_task import ToyTask, export_toy


def test_versions_count_up(tmp_path):
    assert export_toy(tmp_path / "new").name == "1"
    assert export_toy(tmp_path / "new").name == "2"
    assert export_toy(tmp_path / "new", version=7).name == "7"
    assert export_toy(tmp_path / "new").name == "8"


def test_existing_version_is_refused_and_left_as_it_is(tmp_path):
    path = export_toy(tmp_path, version=3)
    before = (path / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="never overwritten"):
        export_toy(tmp_path, version=3)
    assert (path / "saved_model.pb").read_bytes() == before


def test_zero_padded_folder_is_the_same_version(tmp_path):
    (tmp_path / "00000005").mkdir()
    with pytest.raises(FileExistsError, match="00000005"):
        export_toy(tmp_path, version=5)
    assert export_toy(tmp_path).name == "6"


@pytest.mark.parametrize("version", [-1, 2**63])
def test_a_version_that_no_server_reads_is_refused(tmp_path, version):
    with pytest.raises(ValueError, match=f"an int64. Received: {version}. Give"):
        export_toy(tmp_path, version=version)


def test_after_the_last_version_there_is_no_next(tmp_path):
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(ValueError, match=f"an int64. Received: {2**63}. Give"):
        export_toy(tmp_path)


def test_a_file_in_a_version_s_place_is_named(tmp_path):
    (tmp_path / "1").touch()
    with pytest.raises(FileExistsError, match="is a folder. Received: the file .*/1"):
        export_toy(tmp_path)


def test_a_version_that_appears_meanwhile_is_left_as_it_is(tmp_path):
    def export_another(path, module):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").touch()

    with pytest.raises(FileExistsError, match="never overwritten, and .*1 appeared"):
        export_saved_model(ToyTask(), tmp_path, check=export_another)
    assert [file.name for file in tmp_path.rglob("*")] == ["1", "saved_model.pb"]


def test_folder_appears_whole_after_its_check(tmp_path):
    seen = []

    def look(path, module):
        seen.append((versions.list_versions(tmp_path), path.parents[1].name[0]))

    path = export_saved_model(ToyTask(), tmp_path, check=look)
    assert seen == [({}, ".")]
    assert [child.name for child in tmp_path.iterdir()] == ["1"]
    assert (path.stat().st_mode & 0o055) != 0, "a server runs as another user"


def test_failed_check_leaves_nothing(tmp_path):
    def fail(path, module):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        export_saved_model(ToyTask(), tmp_path, check=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    with (
        file_limit(1000),
        pytest.raises(OSError, match="no room to write .*/dalle/1: "),
    ):
        export_toy(tmp_path / "dalle")
    assert list(tmp_path.iterdir()) == []


def test_polling_reader_never_sees_half_a_version(tmp_path):
    seen = {}
    is_over = threading.Event()

    def poll():
        while not is_over.is_set():
            for version, path in versions.list_versions(tmp_path).items():
                if version not in seen:
                    seen[version] = sorted(
                        str(file.relative_to(path)) for file in path.rglob("*")
                    )

    with concurrent.futures.ThreadPoolExecutor() as pool:
        reader = pool.submit(poll)
        paths = [export_toy(tmp_path) for _ in range(3)]
        time.sleep(0.1)
        is_over.set()
        reader.result()
    for path in paths:
        whole = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
        assert seen[int(path.name)] == whole


KILLED_EXPORT = """
import os, signal, sys
from keras_dalle.saved_model.exporter import export_saved_model
from tests.limits import file_limit
from tests.toy_task import ToyTask

def die(path, module):
    os.kill(os.getpid(), signal.SIGKILL)

export_saved_model(ToyTask(), sys.argv[1], check=die)
"""


def test_next_export_removes_what_a_killed_one_left(tmp_path):
    command = [sys.executable, "-c", KILLED_EXPORT, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "new" / "1" / "saved_model.pb").is_file()
    assert versions.list_versions(tmp_path) == {}
    assert export_toy(tmp_path).name == "1"
    assert [child.name for child in tmp_path.iterdir()] == ["1"]


def test_config_rides_along(tmp_path):
    path = export_toy(tmp_path)
    config = json.loads((path / exporter.MODEL_CONFIG).read_text())
    assert config["class_name"] == ToyTask.__name__


def test_versions_are_integers_only(tmp_path):
    too_large = str(2**63)
    for name in ("2", "00000010", ".partial-x", "1.5", "-3", "latest", "٣", too_large):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("a file")
    assert {v: p.name for v, p in versions.list_versions(tmp_path).items()} == {
        2: "2",
        10: "00000010",
    }


def test_variables_are_written_in_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "MAX_SHARD_BYTES", 1_000_000)
    task = ToyTask()
    task.weight = tf.Variable(tf.range(700_000, dtype=tf.float32))
    path = export_saved_model(task, tmp_path)
    sizes = [file.stat().st_size for file in path.glob("variables/variables.data-*")]
    assert len(sizes) == 3 and max(sizes) <= 1_000_000
    (restored,) = [w for w in tf.saved_model.load(path).weights if w.shape == [700_000]]
    np.testing.assert_array_equal(restored, task.weight)
