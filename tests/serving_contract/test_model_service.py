"""ModelService: versions that come and go, configurations, labels."""

import shutil
import threading

import grpc
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
)

from tests.serving_contract.models import (
    MODELS,
    VERSION,
    HalfPlus,
    config_text,
    save,
)
from tests.serving_contract.running_server import (
    predict_request,
    refusal,
    wait_for,
)


@pytest.fixture(scope="module")
def half_plus_nine(tmp_path_factory):
    return save(HalfPlus(9.0), tmp_path_factory.mktemp("saved") / "half_plus_nine")


@pytest.fixture
def changing(server, models, tmp_path_factory):
    """A model of its own, "changing", which is half_plus_two at first."""
    if models is None:
        pytest.skip("TF_SERVING_MODELS is not set")
    folder = models / "changing"
    shutil.copytree(models / "half_plus_two", folder)
    reload(server, models, *MODELS, "changing")
    yield folder
    reload(server, models, *MODELS)
    shutil.rmtree(folder)


def reload(server, folder, *names, more=""):
    text = config_text(folder, *names).rstrip("}\n") + "}\n" + more + "}"
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    response = server.model.HandleReloadConfigRequest(request, timeout=60)
    assert response.status.error_code == 0


def publish(saved, folder, version):
    """A new version appears whole, as `keras-dalle export` writes it."""
    shutil.copytree(saved, folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


def test_status(server):
    assert server.states("half_plus_two") == {VERSION: "AVAILABLE"}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half_plus_two"
    request.model_spec.version.value = VERSION
    (status,) = server.model.GetModelStatus(request).model_version_status
    assert (status.version, status.status.error_code) == (VERSION, 0)


def test_status_faults(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    call = server.model.GetModelStatus
    assert refusal(call, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "zz"
    text = "Could not find any versions of model zz"
    assert refusal(call, request) == ("NOT_FOUND", text)
    request.model_spec.name = "half_plus_two"
    request.model_spec.version.value = 9
    text = "Could not find version 9 of model half_plus_two"
    assert refusal(call, request) == ("NOT_FOUND", text)


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(server, service):
    stub = health_pb2_grpc.HealthStub(server.channel)
    response = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert response.status == health_pb2.HealthCheckResponse.SERVING


class Callers:
    """Threads that ask a model again and again, and keep what went wrong."""

    def __init__(self, server, name, allowed, number=4):
        self._server, self._name, self._allowed = server, name, allowed
        self._stopping = threading.Event()
        self.faults = []
        self.calls = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stopping.is_set():
            try:
                answer = self._server.y_of([2.0], self._name)
                if answer not in self._allowed:
                    self.faults.append(answer)
            except Exception as error:
                self.faults.append(error)
            self.calls += 1


def test_a_version_swap_under_load_drops_no_request(server, changing, half_plus_nine):
    with Callers(server, "changing", ([3.0], [10.0])) as callers:
        wait_for(lambda: callers.calls > 20)
        publish(half_plus_nine, changing, VERSION + 1)
        wait_for(lambda: server.y_of([2.0], "changing") == [10.0])
        # And back, by taking the new one away.
        shutil.rmtree(changing / str(VERSION + 1))
        wait_for(lambda: server.y_of([2.0], "changing") == [3.0])
    assert callers.faults == []


def test_a_corrupt_version_leaves_the_old_one_serving(server, changing, half_plus_nine):
    version = VERSION + 2
    shutil.copytree(half_plus_nine, changing / ".new")
    (changing / ".new" / "saved_model.pb").write_bytes(b"\xffcorrupt")
    with Callers(server, "changing", ([3.0],)) as callers:
        (changing / ".new").rename(changing / str(version))
        wait_for(lambda: version in server.states("changing"))
        before = callers.calls
        wait_for(lambda: callers.calls > before + 100)
    assert callers.faults == []
    states = server.states("changing")
    assert states[version] != "AVAILABLE" and states[VERSION] == "AVAILABLE"


@pytest.mark.parametrize(
    "version, content, code, text",
    [
        (
            501,
            None,
            "NOT_FOUND",
            "Could not find SavedModel .pb or .pbtxt at supplied ",
        ),
        (502, b"\x0fcut", "DATA_LOSS", "saved_model.pb as binary proto"),
        (
            503,
            b"",
            "NOT_FOUND",
            "Could not find meta graph def matching supplied tags: {",
        ),
    ],
    ids=["missing", "broken", "empty"],
)
def test_why_a_version_does_not_load(server, changing, version, content, code, text):
    (changing / ".new").mkdir()
    if content is not None:
        (changing / ".new" / "saved_model.pb").write_bytes(content)
    (changing / ".new").rename(changing / str(version))
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "changing"
    request.model_spec.version.value = version
    wait_for(lambda: server.states("changing").get(version) == "END")
    (status,) = server.model.GetModelStatus(request).model_version_status
    assert status.status.error_code == getattr(grpc.StatusCode, code).value[0]
    assert text in status.status.error_message
    assert server.y_of([2.0], "changing") == [3.0]


def test_a_reload_of_a_model_that_does_not_load(server, models):
    if models is None:
        pytest.skip("TF_SERVING_MODELS is not set")
    folder = models / "broken"
    (folder / "7").mkdir(parents=True)
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config_text(models, *MODELS, "broken"), request.config)
    code, text = refusal(server.model.HandleReloadConfigRequest, request)
    assert code == "UNKNOWN"
    start = "1 model(s) did not become available: {{{name: broken version: 7} due to "
    assert text.startswith(f"{start}error: NOT_FOUND: Could not find SavedModel .pb")
    assert server.y_of([2.0]) == [3.0]
    reload(server, models, *MODELS)
    shutil.rmtree(folder)


def test_reload_adds_and_removes_models(server, changing, models):
    assert server.y_of([2.0], "changing") == [3.0]
    reload(server, models, *MODELS)
    request = predict_request("changing", x=[2.0])
    text = "Servable not found for request: Latest(changing)"
    assert refusal(server.prediction.Predict, request) == ("NOT_FOUND", text)
    reload(server, models, *MODELS, "changing")
    assert server.y_of([2.0], "changing") == [3.0]


def changing_with(folder, more):
    return (
        f'config {{ name: "changing" base_path: "{folder}" '
        f'model_platform: "tensorflow" {more} }}'
    )


def test_policies_and_labels(server, changing, models, half_plus_nine):
    publish(half_plus_nine, changing, 1)
    everything = "model_version_policy { all {} }"
    reload(server, models, *MODELS, more=changing_with(changing, everything))
    wait_for(lambda: server.states("changing").get(1) == "AVAILABLE")
    assert server.y_of([2.0], "changing") == [3.0]
    assert server.y_of([2.0], "changing", version=1) == [10.0]
    labels = (
        f'version_labels {{ key: "stable" value: {VERSION} }} '
        'version_labels { key: "canary" value: 1 }'
    )
    more = changing_with(changing, f"{everything} {labels}")
    reload(server, models, *MODELS, more=more)
    assert server.y_of([2.0], "changing", label="stable") == [3.0]
    assert server.y_of([2.0], "changing", label="canary") == [10.0]
    body = {"instances": [2.0]}
    answer = server.rest("/v1/models/changing/labels/canary:predict", body)
    assert answer == (200, {"predictions": [10.0]})
    # A label does not move to a version that is not there.
    wrong = labels.replace("value: 1 }", "value: 5 }")
    request = model_management_pb2.ReloadConfigRequest()
    entry = changing_with(changing, f"{everything} {wrong}")
    text_format.Parse(f"model_config_list {{ {entry} }}", request.config)
    code, text = refusal(server.model.HandleReloadConfigRequest, request)
    assert code == "FAILED_PRECONDITION"
    assert text.startswith("Request to assign label to version 5 of model changing")


@pytest.mark.parametrize(
    "config, text",
    [
        ("", "Only ModelConfigList is currently supported"),
        (
            'model_config_list { config { name: "a" base_path: "a" '
            'model_platform: "tensorflow" } }',
            "to have an absolute path or URI; got base_path()=a",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" } '
            'config { name: "a" base_path: "/a" } }',
            "Illegal to list model a multiple times in config list",
        ),
    ],
    ids=["empty", "relative", "twice"],
)
def test_refused_configurations(server, config, text):
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config, request.config)
    code, message = refusal(server.model.HandleReloadConfigRequest, request)
    assert code == "INVALID_ARGUMENT"
    assert text in message
    assert server.y_of([2.0]) == [3.0]
