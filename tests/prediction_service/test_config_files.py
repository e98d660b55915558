"""Flags and files are checked before anything is loaded."""

import pytest

from keras_dalle.prediction_service.config_files import read_files
from keras_dalle.prediction_service.options import ServerOptions


@pytest.mark.parametrize(
    "flags, message",
    [
        ({}, "Give either"),
        ({"model_base_path": "a", "model_config_file": "b"}, "Give either"),
        ({"model_base_path": "a", "batching_parameters_file": "b"}, "--enable_batch"),
        ({"model_base_path": "a", "port": 9, "rest_api_port": 9}, "different from"),
        ({"model_base_path": "a", "grpc_max_threads": 0}, "at least 1. Received: 0"),
    ],
)
def test_contradicting_flags(flags, message):
    with pytest.raises(ValueError, match=message):
        ServerOptions(**flags)


def test_several_models(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        'model_config_list { config { name: "a" base_path: "/a" } '
        'config { name: "b" base_path: "/b" version_labels { key: "x" value: 3 } } }'
    )
    models = read_files(ServerOptions(model_config_file=file)).models
    assert [m.name for m in models.model_config_list.config] == ["a", "b"]


def test_a_malformed_file_is_named_with_its_line(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n  config { nam: 3 } }")
    message = (
        "Error parsing text-format tensorflow.serving.ModelServerConfig: 2:12.*nam"
    )
    with pytest.raises(ValueError, match=message):
        read_files(ServerOptions(model_config_file=file))
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="Invalid protobuf file"):
        read_files(ServerOptions(model_config_file=file))


def test_a_missing_file(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        read_files(ServerOptions(model_config_file=tmp_path / "nowhere"))
