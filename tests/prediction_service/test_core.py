"""Models, versions, labels and configurations, without a network."""

import os
import shutil

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_dalle.prediction_service.core import ServerCore
from keras_dalle.prediction_service.errors import ServingError
from keras_dalle.prediction_service.loading import VersionLoader
from keras_dalle.prediction_service.manager import ServableManager
from tests.serving_contract.models import HalfPlus, save

GRAPH, DATA = "saved_model.pb", "variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(HalfPlus(2.0), tmp_path_factory.mktemp("saved") / "half_plus_two")


@pytest.fixture
def folder(saved, tmp_path):
    """A base path with versions 1, 2 and 3."""
    for version in (1, 2, 3):
        shutil.copytree(saved, tmp_path / "m" / str(version))
    return tmp_path / "m"


@pytest.fixture
def manager():
    manager = ServableManager(VersionLoader(), max_retries=0, retry_interval=0)
    yield manager
    manager.close()


@pytest.fixture
def core(manager):
    return ServerCore(manager)


def pipe_at(path):
    path.unlink()
    os.mkfifo(path)


def cut(file):
    """Half of a file, as a copy that was interrupted leaves it."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def config(*models):
    text = " ".join(
        f'config {{ model_platform: "tensorflow" {model} }}' for model in models
    )
    return text_format.Parse(f"model_config_list {{ {text} }}", ModelServerConfig())


def model(folder, more="", name="m"):
    return f'name: "{name}" base_path: "{folder}" {more}'


def states(core, name="m"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    return {
        status.version: ModelVersionStatus.State.Name(status.state)
        for status in core.status(request).model_version_status
    }


def served_version(core, **spec):
    with core.use(ModelSpec(name="m", **spec)) as servable:
        assert result_of(servable) == [3.0]
        return servable.version


def result_of(servable):
    signature = servable.session.signatures["serving_default"]
    feeds = {signature.inputs["x"].name: np.float32([2.0])}
    return servable.session.run(feeds, [signature.outputs["y"].name])[0].tolist()


@pytest.mark.parametrize(
    "policy, versions",
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 2]),
        ("model_version_policy { all {} }", [3, 2, 1]),
        ("model_version_policy { specific { versions: 1 versions: 2 } }", [2, 1]),
    ],
    ids=["default", "latest", "all", "specific"],
)
def test_version_policies(core, folder, policy, versions):
    core.reload(config(model(folder, policy)))
    assert states(core) == dict.fromkeys(versions, "AVAILABLE")
    assert list(states(core)) == versions
    assert served_version(core) == max(versions)


def test_a_new_version_takes_over_and_the_old_one_ends(core, folder, saved):
    core.reload(config(model(folder)))
    shutil.copytree(saved, folder / "00000011")
    core.poll()
    assert served_version(core) == 11
    assert states(core) == {11: "AVAILABLE", 3: "END"}


def test_a_version_in_use_stays_open_until_it_is_left(core, folder, saved):
    core.reload(config(model(folder)))
    with core.use(ModelSpec(name="m")) as old:
        shutil.copytree(saved, folder / "4")
        core.poll()
        assert states(core) == {4: "AVAILABLE", 3: "UNLOADING"}
        assert result_of(old) == [3.0]
        assert served_version(core) == 4
    assert states(core) == {4: "AVAILABLE", 3: "END"}


def test_going_back_by_removing_the_new_version(core, folder):
    core.reload(config(model(folder)))
    shutil.rmtree(folder / "3")
    core.poll()
    assert served_version(core) == 2
    assert states(core) == {3: "END", 2: "AVAILABLE"}


def test_a_version_that_comes_back_is_loaded_again(core, folder, saved):
    core.reload(config(model(folder)))
    shutil.rmtree(folder / "3")
    core.poll()
    shutil.copytree(saved, folder / "3")
    core.poll()
    assert states(core) == {3: "AVAILABLE", 2: "END"}


@pytest.mark.parametrize(
    "damage, code",
    [
        (lambda path: (path / GRAPH).write_bytes(b"\x00truncated"), "DATA_LOSS"),
        (lambda path: cut(path / GRAPH), "DATA_LOSS"),
        (lambda path: (path / GRAPH).rename(path / "saved_model.pbtxt"), "DATA_LOSS"),
        (lambda path: (path / GRAPH).unlink(), "NOT_FOUND"),
        (lambda path: (path / GRAPH).write_bytes(b""), "NOT_FOUND"),
        (lambda path: shutil.rmtree(path / "variables"), "UNAVAILABLE"),
        (lambda path: cut(path / "variables/variables.index"), "DATA_LOSS"),
        (lambda path: (path / "variables" / DATA).unlink(), "NOT_FOUND"),
        (lambda path: pipe_at(path / GRAPH), "UNAVAILABLE"),
        (lambda path: pipe_at(path / "variables" / DATA), "UNAVAILABLE"),
    ],
    ids=[
        "graph",
        "cut graph",
        "no text",
        "no graph",
        "empty graph",
        "no variables",
        "index",
        "no data",
        "pipe as graph",
        "pipe as data",
    ],
)
def test_a_damaged_version_leaves_the_old_one_serving(
    core, folder, saved, damage, code
):
    core.reload(config(model(folder)))
    shutil.copytree(saved, folder / "4")
    damage(folder / "4")
    core.poll()
    assert served_version(core) == 3
    assert states(core) == {4: "END", 3: "AVAILABLE"}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    failed = core.status(request).model_version_status[0].status
    assert failed.error_code == grpc.StatusCode[code].value[0]
    assert failed.error_message
    # Its replacement is another version.
    shutil.copytree(saved, folder / "5")
    core.poll()
    assert served_version(core) == 5


def test_a_damaged_version_is_tried_again(folder, saved):
    manager = ServableManager(VersionLoader(), max_retries=1, retry_interval=0)
    core = ServerCore(manager)
    core.reload(config(model(folder)))
    shutil.copytree(saved, folder / "4")
    (folder / "4" / "saved_model.pb").rename(folder / "later.pb")
    manager._retry_interval = 60
    core.poll()
    assert states(core) == {4: "LOADING", 3: "AVAILABLE"}
    (folder / "later.pb").rename(folder / "4" / "saved_model.pb")
    manager._versions["m"][4].retry_at = 0
    core.poll()
    assert states(core) == {4: "AVAILABLE", 3: "END"}
    manager.close()


def test_a_base_path_that_vanishes_changes_nothing(core, folder):
    core.reload(config(model(folder)))
    folder.rename(folder.with_name("elsewhere"))
    core.poll()
    assert served_version(core) == 3


def test_a_base_path_without_versions_unloads_all(core, folder):
    core.reload(config(model(folder)))
    for version in (1, 2, 3):
        shutil.rmtree(folder / str(version))
    core.poll()
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        served_version(core)


def test_labels(core, folder):
    everything = "model_version_policy { all {} }"
    core.reload(config(model(folder, everything)))
    labels = (
        'version_labels { key: "stable" value: 1 } '
        'version_labels { key: "canary" value: 3 }'
    )
    core.reload(config(model(folder, f"{everything} {labels}")))
    assert served_version(core, version_label="stable") == 1
    assert served_version(core, version_label="canary") == 3
    with pytest.raises(ServingError, match="Unrecognized servable version label: x"):
        served_version(core, version_label="x")


def test_a_label_needs_a_loaded_version(core, folder):
    wrong = model(folder, 'version_labels { key: "stable" value: 9 }')
    core.reload(config(model(folder)))
    with pytest.raises(ServingError) as error:
        core.reload(config(wrong))
    assert error.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert error.value.message == (
        "Request to assign label to version 9 of model m, which is not currently "
        "available for inference"
    )
    assert served_version(core) == 3


def test_a_label_may_come_first_where_that_is_allowed(manager, folder):
    core = ServerCore(manager, labels_may_wait=True)
    core.reload(config(model(folder, 'version_labels { key: "stable" value: 3 }')))
    assert served_version(core, version_label="stable") == 3
    moved = model(folder, 'version_labels { key: "stable" value: 9 }')
    with pytest.raises(ServingError, match="label to version 9"):
        core.reload(config(moved))


def test_reload_adds_and_removes_models(core, folder):
    core.reload(config(model(folder)))
    core.reload(config(model(folder, name="n")))
    assert states(core, "n") == {3: "AVAILABLE"}
    assert states(core) == {3: "END"}
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        served_version(core)


@pytest.mark.parametrize(
    "models, message",
    [
        (['name: "m" base_path: "/a"'] * 2, "Illegal to list model m multiple times"),
        (['name: "m" base_path: "a"'], r"absolute path or URI; got base_path\(\)=a"),
        (['name: "m" base_path: "/nowhere/x"'], "Could not find base path /nowhere/x"),
        (
            ['name: "m" base_path: "/nowhere\\000x"'],
            "Could not find base path /nowhere",
        ),
        (['name: "m" base_path: "/%s"' % ("x" * 5000)], "File name too long"),
        (['name: "m" base_path: ""'], "absolute path or URI"),
    ],
    ids=["twice", "relative", "missing", "NUL", "long", "empty"],
)
def test_refused_configurations_change_nothing(core, folder, models, message):
    core.reload(config(model(folder)))
    with pytest.raises(ServingError, match=message) as error:
        core.reload(config(*models))
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert served_version(core) == 3


def test_platforms(core, folder):
    other = config(model(folder))
    other.model_config_list.config[0].model_platform = "caffe"
    with pytest.raises(ServingError, match="unsupported platform caffe"):
        core.reload(other)
    with pytest.raises(ServingError, match="Only ModelConfigList is"):
        core.reload(ModelServerConfig())


def test_a_new_model_that_does_not_load_is_named(core, folder, saved):
    """Each reload names it, until it has been available."""
    (folder / "3" / GRAPH).unlink()
    start = "1 model(s) did not become available: {{{name: m version: 3} due to error: "
    for _ in range(2):
        with pytest.raises(ServingError) as error:
            core.reload(config(model(folder)))
        assert error.value.code == grpc.StatusCode.UNKNOWN
        assert error.value.message.startswith(f"{start}NOT_FOUND: Could not find Saved")
        assert error.value.message.endswith("it.}, }")
    shutil.copytree(saved, folder / "4")
    core.poll()
    core.reload(config(model(folder)))
    # It may go again, as in the stock server.
    for version in (1, 2, 3, 4):
        shutil.rmtree(folder / str(version))
    core.reload(config(model(folder)))
    assert states(core)[4] == "END"


def test_a_reload_of_a_model_without_a_version(core, folder, saved):
    (folder.parent / "n").mkdir()
    both = config(model(folder), model(folder.parent / "n", name="n"))
    for _ in range(2):
        with pytest.raises(ServingError, match="{name: n version: } .*No versions of"):
            core.reload(both)
    assert served_version(core) == 3
    shutil.copytree(saved, folder.parent / "n" / "1")
    core.poll()
    assert states(core, "n") == {1: "AVAILABLE"}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"model_type": 1}, "Illegal setting both ModelServerConfig::model_type"),
        ({"model_type": 2, "model_platform": ""}, "model_type choice 2 not supported"),
        ({"base_path": "gs://b/m"}, "Base path of model m: .* no gs://"),
    ],
    ids=["both", "type", "elsewhere"],
)
def test_refused_fields(core, folder, fields, message):
    wrong = config(model(folder))
    for name, value in fields.items():
        setattr(wrong.model_config_list.config[0], name, value)
    with pytest.raises(ServingError, match=message) as error:
        core.reload(wrong)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_the_type_of_old_configurations_is_a_platform(core, folder):
    old = config(model(f"file://{folder}"))
    old.model_config_list.config[0].ClearField("model_platform")
    old.model_config_list.config[0].model_type = 1
    core.reload(old)
    assert served_version(core) == 3


def test_versions_that_are_missing_by_the_thousand_are_a_short_line(
    core, folder, caplog
):
    wanted = " ".join(f"versions: {number}" for number in range(9000, 2, -1))
    core.reload(
        config(model(folder, f"model_version_policy {{ specific {{ {wanted} }} }}"))
    )
    (line,) = [text for text in caplog.messages if "are wanted and not in" in text]
    assert "11, 12, 13] and 8987 more of model m" in line
    assert len(line) < 500


def test_what_is_amiss_is_said_once(core, folder, caplog):
    policy = "model_version_policy { specific { versions: 2 versions: 8 } }"
    core.reload(config(model(folder, policy)))
    for _ in range(3):
        core.poll()
    assert caplog.text.count("Versions [8] of model m are wanted and not in") == 1
    folder.rename(folder.with_name("elsewhere"))
    for _ in range(3):
        core.poll()
    assert caplog.text.count("Could not find base path") == 1
    folder.with_name("elsewhere").rename(folder)
    core.poll()
    assert caplog.text.count("Versions [8] of model m") == 2
    assert served_version(core) == 2
