"""The scripts of export/: what they write is what servers read.

No stock server, no KServe and no Vertex AI is at hand. So their flags and files go to
the embedded server, text protos through their messages, and Kubernetes objects are
compared with the fields of the published types.
"""

import base64
import json
import shlex
import sys

import pytest
import yaml
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from export import kserve, server_files, stock_server, vertex_ai
from keras_dalle.commands import preset_names
from keras_dalle.prediction_service.batching_options import batching_options
from keras_dalle.prediction_service.text_protos import (
    BatchingParameters,
    MonitoringConfig,
    read_text_proto,
)
from keras_dalle.saved_model.warmup import WARMUP_FILE
from tests.serving_contract.running_server import embedded_server
from tests.toy_task import ToyTask

# The stock server's, which the embedded one has no need of.
STOCK_ONLY = ("--enable_grpc_healthcheck_service",)
OWN_PORTS = ("--port=8500", "--rest_api_port=8501")
ROW = {
    "prompt": "red",
    "negative_prompt": "",
    "seed": 1,
    "guidance_scale": 4.0,
    "guidance_scale_end": -1.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}
# Of serving.kserve.io/v1beta1, with the fields of Kubernetes' container in the model.
PREDICTOR_FIELDS = {"minReplicas", "maxReplicas", "timeout", "model", "volumes"}
MODEL_FIELDS = {
    "modelFormat",
    "runtimeVersion",
    "storageUri",
    "protocolVersion",
    "args",
    "ports",
    "resources",
    "volumeMounts",
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script on a toy and returns the lines that it printed."""
    monkeypatch.setattr(server_files, "load_task", lambda _: ToyTask())
    monkeypatch.setattr(server_files, "preset_facts", lambda _: {"name": "toy"})

    def call(script, *arguments):
        words = ["script", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        script.main()
        return capsys.readouterr().out.splitlines()

    return call


def embedded_flags(flags):
    """Flags for the embedded server, which is on any free port here."""
    return [
        flag
        for flag in flags
        if flag not in OWN_PORTS and flag.partition("=")[0] not in STOCK_ONLY
    ]


def check_predicts(server, route):
    status, answer = server.rest(route, {"instances": [ROW]})
    assert status == 200, answer
    png = base64.b64decode(answer["predictions"][0]["image_bytes"]["b64"])
    assert png.startswith(b"\x89PNG")


def test_stock_command_serves_what_was_exported(run, tmp_path):
    lines = run(stock_server, "toy", tmp_path, "--name", "toy", "--batch-size", 2, 1)
    binary, *flags = shlex.split(lines[-1])
    assert binary == "tensorflow_model_server"
    assert (tmp_path / "models" / "toy" / "1" / WARMUP_FILE).is_file()
    options = batching_options(
        read_text_proto(tmp_path / "batching.config", BatchingParameters)
    )
    assert (options.max_batch_size, options.allowed_batch_sizes) == (2, (1, 2))
    with embedded_server(*embedded_flags(flags)) as server:
        assert server.states("toy") == {1: "AVAILABLE"}
        check_predicts(server, "/v1/models/toy:predict")
        assert "request_count" in server.text(server_files.METRICS_PATH)


def test_any_folder_can_be_named(tmp_path):
    folder = tmp_path / """a "b" \\ 'c' ü"""
    folder.mkdir()
    stock_server.write_files(folder, "toy", [1])
    config = read_text_proto(folder / server_files.MODELS_FILE, ModelServerConfig)
    (model,) = config.model_config_list.config
    assert model.base_path == str(folder / "models" / "toy")


def test_docker_command_has_the_same_flags_and_sees_the_files(tmp_path):
    binary, *flags = stock_server.binary_command(tmp_path, [1], jit=False)
    words = stock_server.docker_command(tmp_path, [1], jit=False)
    assert words[-len(flags) :] == flags
    assert words[-len(flags) - 1] == "tensorflow/serving:2.20.0"
    assert words[words.index("-v") + 1] == f"{tmp_path}:{tmp_path}:ro"
    assert words[words.index("--entrypoint") + 1] == binary
    assert "127.0.0.1:8500:8500" in words


def test_kserve_objects(run, tmp_path):
    uri = "gs://models/dalle"
    lines = run(kserve, "toy", tmp_path, "--storage-uri", uri, "--grpc")
    assert lines[-1] == f"kubectl apply -f {tmp_path}/kserve.yaml"
    text = (tmp_path / "kserve.yaml").read_text(encoding="utf-8")
    config, service = yaml.safe_load_all(text)
    assert (config["apiVersion"], config["kind"]) == ("v1", "ConfigMap")
    for file, message in (
        (server_files.BATCHING_FILE, BatchingParameters),
        (server_files.MONITORING_FILE, MonitoringConfig),
    ):
        (tmp_path / file).write_text(config["data"][file])
        read_text_proto(tmp_path / file, message)

    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    predictor = service["spec"]["predictor"]
    model = predictor["model"]
    assert set(predictor) <= PREDICTOR_FIELDS
    assert set(model) <= MODEL_FIELDS
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["storageUri"] == uri
    (mount,), (volume,) = model["volumeMounts"], predictor["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    for file in config["data"]:
        assert any(f"{mount['mountPath']}/{file}" in flag for flag in model["args"])


def test_vertex_commands_upload_what_the_server_reads(run, tmp_path):
    arguments = ["--region", "europe-west4", "--artifact-uri", "gs://bucket/dalle/"]
    lines = run(vertex_ai, "toy", tmp_path, *arguments, "--image", "registry/image:1")
    copy, upload, create, deploy = (shlex.split(line) for line in lines[1:])
    assert copy[-2:] == [str(tmp_path), "gs://bucket/dalle"]
    assert upload[:4] == ["gcloud", "ai", "models", "upload"]
    assert create[:4] == ["gcloud", "ai", "endpoints", "create"]
    assert deploy[:4] == ["gcloud", "ai", "endpoints", "deploy-model"]
    options = dict(word[2:].split("=", 1) for word in upload[4:])
    assert options["artifact-uri"] == "gs://bucket/dalle"
    assert options["container-image-uri"] == "registry/image:1"
    assert options["container-ports"] == "8501"
    # The server reads the copied folder; this is it before it is copied.
    local = options["container-args"].replace("$(AIP_STORAGE_URI)", str(tmp_path))
    with embedded_server(*embedded_flags(local.split(","))) as server:
        status, answer = server.rest(options["container-health-route"])
        assert (status, answer["model_version_status"][0]["state"]) == (
            200,
            "AVAILABLE",
        )
        check_predicts(server, options["container-predict-route"])


def test_jit_names_the_flag(tmp_path):
    flag = "--xla_cpu_compilation_enabled=true"
    assert flag in stock_server.binary_command(tmp_path, [1], jit=True)
    assert flag not in stock_server.binary_command(tmp_path, [1], jit=False)


@pytest.mark.parametrize("script", [stock_server, kserve, vertex_ai])
def test_help_has_an_example_that_parses(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script", "--help"])
    with pytest.raises(SystemExit, match="0"):
        script.main()
    text = capsys.readouterr().out
    example = text.partition("Example: python -m export.")[2]
    reached = []
    monkeypatch.setattr(
        server_files, "load_task", lambda preset: reached.append(preset) or 1 / 0
    )
    monkeypatch.setattr(sys, "argv", shlex.split(example))
    with pytest.raises(ZeroDivisionError):
        script.main()
    assert reached == ["emoji_tiny"]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--batch-size", "0"], "must be at least 1. Received: 0"),
        (["--name", "Dalle!"], "small letters"),
    ],
)
def test_wrong_arguments(arguments, text, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        sys, "argv", ["script", "emoji_tiny", str(tmp_path), *arguments]
    )
    with pytest.raises(SystemExit, match="2"):
        stock_server.main()
    assert text in capsys.readouterr().err


def test_facts_of_the_shipped_preset_are_told():
    facts = preset_names.preset_facts("emoji_tiny")
    assert facts["name"] == "emoji_tiny"
    assert "Noto Color Emoji" in facts["description"]
    assert facts["parameter_count"] > 5_000_000
    assert len(facts["sha256"]) == 64
    json.dumps(facts)
