import json

import numpy as np
import pytest
import tensorflow as tf

from keras_dalle.saved_model import exporter, versions
from keras_dalle.saved_model.exporter import export_saved_model
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


def test_negative_version_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: -1"):
        export_toy(tmp_path, version=-1)


def test_folder_appears_whole(tmp_path, monkeypatch):
    seen = []
    write = exporter._write

    def watched(task, path):
        write(task, path)
        seen.append((versions.list_versions(tmp_path), path.parent.name[0]))

    monkeypatch.setattr(exporter, "_write", watched)
    path = export_toy(tmp_path)
    assert seen == [({}, ".")]
    assert [child.name for child in tmp_path.iterdir()] == ["1"]
    assert (path.stat().st_mode & 0o055) != 0, "a server runs as another user"


def test_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(task, path):
        path.mkdir()
        raise OSError("No space left on device")

    monkeypatch.setattr(exporter, "_write", fail)
    with pytest.raises(OSError, match="No space"):
        export_toy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_config_rides_along(tmp_path):
    path = export_toy(tmp_path)
    config = json.loads((path / exporter.MODEL_CONFIG).read_text())
    assert config["class_name"] == ToyTask.__name__


def test_versions_are_integers_only(tmp_path):
    for name in ("2", "00000010", ".export-x", "1.5", "-3", "latest", "٣"):
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
