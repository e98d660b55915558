"""Flags and files are checked before anything is loaded."""

import re

import pytest

from keras_dalle.prediction_service.config_files import read_files
from keras_dalle.prediction_service.options import ServerOptions


@pytest.mark.parametrize(
    "flags, message",
    [
        ({}, "must say what to serve. Received neither"),
        ({"model_base_path": "a", "batching_parameters_file": "b"}, "--enable_batch"),
        ({"model_base_path": "a", "port": 9, "rest_api_port": 9}, "different from"),
        ({"model_base_path": "a", "grpc_max_threads": 0}, "at least 1. Received: 0"),
    ],
)
def test_contradicting_flags(flags, message):
    with pytest.raises(ValueError, match=message):
        ServerOptions(**flags)


@pytest.mark.parametrize("flag", ["model_base_path", "ssl_config_file"])
@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "https", "abfs+x"])
def test_files_of_other_systems(flag, scheme):
    message = (
        rf"--{flag}: .* and no {re.escape(scheme)}:// Received: '{re.escape(scheme)}"
    )
    with pytest.raises(ValueError, match=f"{message}://bucket/a'. Copy the files"):
        ServerOptions(**{"model_base_path": "/a", flag: f"{scheme}://bucket/a"})


def test_a_configured_model_of_another_system(tmp_path):
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { name: "m" base_path: "s3://b/m" } }')
    with pytest.raises(
        ValueError, match="models.config: `base_path` of m: .* no s3://"
    ):
        read_files(ServerOptions(model_config_file=file))


def test_a_file_uri_is_a_path(tmp_path):
    options = ServerOptions(model_base_path=f"file://{tmp_path}")
    (model,) = read_files(options).models.model_config_list.config
    assert model.base_path == str(tmp_path)


def test_the_configuration_file_wins(tmp_path):
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { name: "of the file" } }')
    options = ServerOptions(
        model_config_file=file, model_name="model", model_base_path="/models/model"
    )
    (model,) = read_files(options).models.model_config_list.config
    assert model.name == "of the file"
    assert list(options.unused()) == ["model_base_path"]


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
