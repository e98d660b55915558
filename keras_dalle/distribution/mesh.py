"""DTensor meshes, and host arrays that go to them and come back."""

import os

import numpy as np
from tensorflow.experimental import dtensor

from keras_dalle.distribution.layout_rules import BATCH, MODEL, Axes


def create_mesh(mesh_shape, device_type=None):
    """A mesh of this process's devices or, with several processes, of all of theirs.

    Args:
        mesh_shape: dictionary of ints with `batch` and `model`.
        device_type: `"CPU"`, `"GPU"` or `"TPU"`; `None` for the best there is.

    Raises:
        ValueError: other axes, or not enough devices.
    """
    if set(mesh_shape) != {BATCH, MODEL}:
        raise ValueError(
            f"`mesh_shape` must have the axes {BATCH!r} and {MODEL!r}. Received: "
            f"mesh_shape={mesh_shape}"
        )
    # With this optimization DTensor of TensorFlow 2.20 reads a variable's value from
    # before its assignment in the same step: momentum and Adam lose updates without an
    # error. It must be off before the first function is compiled, and
    # tests/distribution/test_dtensor.py notices if it is not.
    os.environ["DTENSOR_ENABLE_COMBINE_ALL_REDUCES_OPTIMIZATION"] = "0"
    device_type = device_type or dtensor.preferred_device_type()
    dims = [(axis, mesh_shape[axis]) for axis in (BATCH, MODEL)]
    count = mesh_shape[BATCH] * mesh_shape[MODEL]
    if dtensor.num_clients() > 1:
        total = dtensor.num_global_devices(device_type)
        if total != count:
            raise ValueError(
                f"`mesh_shape` (={mesh_shape}) must have all devices of the "
                f"{dtensor.num_clients()} processes. Received: {total} of type "
                f"{device_type}."
            )
        return dtensor.create_distributed_mesh(dims, device_type=device_type)
    devices = [
        f"{device_type}:{i}" for i in range(dtensor.num_local_devices(device_type))
    ]
    if len(devices) < count:
        raise ValueError(
            f"`mesh_shape` (={mesh_shape}) needs {count} devices. Received: "
            f"{len(devices)} of type {device_type}. To try it on a CPU, split it with "
            "`tf.config.set_logical_device_configuration` before anything else runs."
        )
    return dtensor.create_mesh(dims, devices=devices[:count])


def layout(mesh, axes: Axes):
    """The layout whose dimensions lie on `axes`."""
    return dtensor.Layout([axis or dtensor.UNSHARDED for axis in axes], mesh)


def to_mesh(array, layout):
    """Puts a host array on a mesh.

    With several processes, each passes the whole array and keeps its pieces.

    Args:
        array: array-like, whose sharded dimensions are divisible.
        layout: a `dtensor.Layout` of its rank.
    """
    array = np.asarray(array)
    pieces = [array[place] for place in _places(array.shape, layout)]
    return dtensor.pack(pieces, layout)


def rows_to_mesh(array, layout, shard):
    """Puts an array on a mesh of which each process has some rows.

    Args:
        array: array-like, this process's rows.
        layout: a `dtensor.Layout` of its rank, sharded in no dimension but the first.
        shard: as of `process_shard`.
    """
    array = np.asarray(array)
    count, index = shard
    rows = len(array)
    shape = (count * rows, *array.shape[1:])
    first = index * rows
    pieces = [
        array[place.start - first : place.stop - first] if place.stop else array
        for place, *_ in _places(shape, layout)
    ]
    return dtensor.pack(pieces, layout)


def to_host(tensor) -> np.ndarray:
    """The whole of a DTensor as an array, in every process."""
    layout = dtensor.fetch_layout(tensor)
    if layout.is_fully_replicated():
        return np.asarray(dtensor.unpack(tensor)[0])
    if dtensor.num_clients() > 1:
        whole = dtensor.Layout.replicated(layout.mesh, rank=layout.rank)
        return np.asarray(dtensor.unpack(dtensor.relayout(tensor, whole))[0])
    # Piece by piece on the host, so that no device holds it whole.
    shape = tuple(tensor.shape)
    array = np.empty(shape, tensor.dtype.as_numpy_dtype)
    pieces = dtensor.unpack(tensor)
    for place, piece in zip(_places(shape, layout), pieces, strict=True):
        array[place] = np.asarray(piece)
    return array


def _places(shape, layout):
    """The slices of an array that lie on this process's devices, in their order."""
    places = []
    for location in layout.mesh.local_device_locations():
        place = []
        for size, axis in zip(shape, layout.sharding_specs, strict=True):
            if axis == dtensor.UNSHARDED:
                place.append(slice(None))
            else:
                length = size // layout.mesh.dim_size(axis)
                start = location[axis] * length
                place.append(slice(start, start + length))
        places.append(tuple(place))
    return places
