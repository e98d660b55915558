"""Reading and writing PyTorch's files, whole, broken and hostile."""

import builtins
import pickle
import sys
import types
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from keras_dalle.converters.tensors import StoredTensor
from keras_dalle.converters.torch import open_torch_checkpoint, write_torch_checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pt"


def _state():
    kernel_OI = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    return {"kernel": kernel_OI, "bias": torch.ones(2), "step": torch.tensor(7)}


def _assert_holds_state(tensors):
    assert list(tensors) == list(_state())
    for name, expected in _state().items():
        array = tensors[name].read()
        assert tensors[name].shape == array.shape
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(array, expected.numpy())


# === Whole files ===


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x, "epoch": 1}])
def test_tensors(path, as_zip, wrap):
    torch.save(wrap(_state()), path, _use_new_zipfile_serialization=as_zip)
    _assert_holds_state(open_torch_checkpoint(path))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "bool"])
def test_dtypes(path, dtype):
    torch.save({"x": torch.tensor([0, 1, 2]).to(getattr(torch, dtype))}, path)
    tensor = open_torch_checkpoint(path)["x"]
    assert tensor.dtype == tensor.read().dtype == np.dtype(dtype)
    np.testing.assert_array_equal(tensor.read(), np.array([0, 1, 2]).astype(dtype))


def test_bfloat16(path):
    torch.save({"x": torch.tensor([1.0, 1.0078125]).to(torch.bfloat16)}, path)
    tensor = open_torch_checkpoint(path)["x"]
    assert tensor.dtype == tensor.read().dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tensor.read().astype("float32"), [1.0, 1.0078125])


def test_transposed_parameter(path):
    torch.save({"x": torch.nn.Parameter(_state()["kernel"]).t()}, path)
    np.testing.assert_array_equal(
        open_torch_checkpoint(path)["x"].read(), _state()["kernel"].numpy().T
    )


@pytest.mark.parametrize("key", [None, "state_dict"])
@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
def test_written_file_is_read_again(path, key, dtype):
    arrays = {
        "x": np.linspace(-1, 1, 6).reshape(2, 3).astype(dtype),
        "transposed": np.linspace(0, 1, 6).reshape(2, 3).astype(dtype).T,
        "scalar": np.array(3).astype(dtype),
    }
    tensors = {name: StoredTensor.of(array) for name, array in arrays.items()}
    write_torch_checkpoint(path, tensors, key)
    content = torch.load(path, weights_only=True)
    assert list(content if key is None else content[key]) == list(arrays)
    for name, tensor in open_torch_checkpoint(path).items():
        assert tensor.dtype == dtype
        assert tensor.read().tobytes() == np.ascontiguousarray(arrays[name]).tobytes()


@pytest.fixture
def lightning_class(monkeypatch):
    """A class that pickle finds in PyTorch Lightning until the test forgets it."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name})
    with monkeypatch.context() as patch:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
            patch.setitem(sys.modules, part, types.ModuleType(part))
        sys.modules[name].ModelCheckpoint = callback
        yield callback


def _forget_lightning(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)


def test_lightning_classes_need_no_lightning(path, lightning_class, monkeypatch):
    # Published files of taming-transformers have such classes as keys of `callbacks`.
    callbacks = {lightning_class: {"best": 1.5}, "instance": lightning_class()}
    torch.save({"state_dict": _state(), "callbacks": callbacks}, path)
    _forget_lightning(monkeypatch)
    _assert_holds_state(open_torch_checkpoint(path))


# === Broken files ===


@pytest.mark.parametrize("as_zip", [True, False])
def test_every_truncation_is_named(path, as_zip):
    torch.save(_state(), path, _use_new_zipfile_serialization=as_zip)
    whole = path.read_bytes()
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"weights\.pt"):
            open_torch_checkpoint(path)


def test_truncated_zip(path):
    torch.save(_state(), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"weights\.pt is truncated.*Copy or download"):
        open_torch_checkpoint(path)


def _write_other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("document.txt", "text")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        lambda path: path.write_bytes(pickle.dumps(object(), protocol=2)),
        _write_other_zip,
    ],
)
def test_other_files(path, write):
    write(path)
    with pytest.raises(ValueError, match=r"weights\.pt") as error:
        open_torch_checkpoint(path)
    # torch's own text advises to load it with the code in it.
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(2), "must hold a dictionary of tensors.*Received: a Tensor"),
        ({}, "must hold a dictionary of tensors.*Received: an empty dictionary"),
        ({"state_dict": [1]}, "must hold a dictionary of tensors.*Received: a list"),
        ({"a": torch.ones(1), "b": "text"}, "must hold tensors alone.*'b' is a str"),
        ({"a": 1.5}, "must hold tensors alone.*'a' is a float"),
        ({"a": torch.eye(2).to_sparse()}, "must hold dense tensors.*'a'"),
        (
            {"a": torch.ones(1).to(torch.float8_e4m3fn)},
            "must hold numbers that numpy has.*'a' is of torch.float8_e4m3fn",
        ),
    ],
)
def test_content_without_usable_tensors(path, content, message):
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights\.pt {message}"):
        open_torch_checkpoint(path)


def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        open_torch_checkpoint(path)


# === Hostile files ===


class _RunsWhenRead:
    """Unpickling this calls `builtins.hostile_code`."""

    def __reduce__(self):
        return builtins.hostile_code, ()


@pytest.fixture
def calls(monkeypatch):
    """What the hostile code did; it works, so that only the reader can prevent it."""
    calls = []

    def hostile_code():
        calls.append("ran")

    hostile_code.__module__ = "builtins"
    hostile_code.__qualname__ = "hostile_code"
    monkeypatch.setattr(builtins, "hostile_code", hostile_code, raising=False)
    pickle.loads(pickle.dumps(_RunsWhenRead()))
    assert calls == ["ran"]
    calls.clear()
    return calls


@pytest.mark.parametrize("as_zip", [True, False])
def test_code_in_a_checkpoint_does_not_run(path, calls, as_zip):
    content = {"state_dict": _state(), "callbacks": _RunsWhenRead()}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    message = r"weights\.pt holds code, which is never run here: \S*hostile_code"
    with pytest.raises(ValueError, match=message):
        open_torch_checkpoint(path)
    assert not calls


def test_code_beside_lightning_classes_does_not_run(
    path, calls, lightning_class, monkeypatch
):
    callbacks = {lightning_class: _RunsWhenRead()}
    torch.save({"state_dict": _state(), "callbacks": callbacks}, path)
    _forget_lightning(monkeypatch)
    with pytest.raises(ValueError, match=r"holds code.*hostile_code"):
        open_torch_checkpoint(path)
    assert not calls


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_bare_pickle_does_not_run(path, calls, protocol):
    path.write_bytes(pickle.dumps(_RunsWhenRead(), protocol))
    with pytest.raises(ValueError, match=r"weights\.pt"):
        open_torch_checkpoint(path)
    assert not calls


# === Without PyTorch ===


def test_error_without_torch(path, monkeypatch):
    torch.save(_state(), path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'pip install "keras-dalle\[torch\]"'):
        open_torch_checkpoint(path)


# === Files that ask for more than they hold ===


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_tensor_that_is_larger_than_its_storage(path, as_zip):
    tensors = {"fine": torch.ones(3), "wide": torch.ones(2, 1).expand(2, 10**12)}
    torch.save(tensors, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=r"weights\.pt must hold each number.*'wide'"):
        open_torch_checkpoint(path)


def test_a_view_within_a_larger_storage_is_read(path):
    torch.save({"view": torch.arange(9.0)[2:5]}, path)
    array = open_torch_checkpoint(path)["view"].read()
    np.testing.assert_array_equal(array, [2.0, 3.0, 4.0])


def _rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The same archive with another description of its tensors."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            is_description = name.endswith("data.pkl")
            archive.writestr(name, change(content) if is_description else content)


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_shape_that_the_storage_does_not_have(path, as_zip):
    torch.save({"a": torch.ones(7, 5)}, path, _use_new_zipfile_serialization=as_zip)
    small, large = b"K\x07K\x05\x86", b"J\xff\xff\xff\x0fK\x05\x86"
    if as_zip:
        _rewritten(path, lambda content: content.replace(small, large))
    else:
        path.write_bytes(path.read_bytes().replace(small, large))
    with pytest.raises(ValueError, match=r"weights\.pt is damaged"):
        open_torch_checkpoint(path)


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_key_that_takes_for_ever_to_hash(path, as_zip):
    levels = b"(X\x04\x00\x00\x00leaftq\x00" + b"".join(
        b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60)
    )
    bomb = b"\x80\x02}" + levels + b"K\x01s."
    if as_zip:
        torch.save({"a": torch.ones(2)}, path)
        _rewritten(path, lambda content: bomb)
    else:
        path.write_bytes(bomb)
    with pytest.raises(ValueError, match=r"weights\.pt must hold.* tuple of more than"):
        open_torch_checkpoint(path)


def test_a_compressed_archive(path):
    torch.save({"a": torch.zeros(1000)}, path)
    _rewritten(path, lambda content: content, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"weights\.pt must hold.*some compressed"):
        open_torch_checkpoint(path)


def test_a_device_in_place_of_the_file():
    with pytest.raises(ValueError, match="/dev/zero must be a regular file.*device"):
        open_torch_checkpoint("/dev/zero")
