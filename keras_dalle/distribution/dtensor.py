"""Keras models on a DTensor mesh: data parallel and model parallel, through `fit`."""

from contextlib import contextmanager

from keras_dalle.distribution.activations import install_layouts
from keras_dalle.distribution.layout_rules import (
    DALLE_BART_ACTIVATIONS,
    DALLE_BART_VARIABLES,
    axes_of_variable,
    stored_shape,
)
from keras_dalle.distribution.mesh import create_mesh
from keras_dalle.distribution.mesh_stacking import MeshStacking
from keras_dalle.distribution.mesh_steps import (
    BatchPacker,
    make_predict_function,
    make_step_function,
)
from keras_dalle.distribution.padding import (
    accept_padded_inputs,
    check_padding,
    install_masks,
    without_padding,
)
from keras_dalle.distribution.placed_variable import PlacedVariable, is_on_mesh
from keras_dalle.distribution.private_api import (
    build_metrics,
    renew_keys,
    work_as_stored,
)
from keras_dalle.distribution.slots import axes_of_slots
from keras_dalle.optimizers.distributed_shampoo import DistributedShampoo
from keras_dalle.optimizers.stacking import Stacking


def distribute(
    model,
    mesh_shape,
    variable_rules=DALLE_BART_VARIABLES,
    activation_rules=DALLE_BART_ACTIVATIONS,
    pad_to_multiple_of=None,
    device_type=None,
):
    """Lays a compiled model out on a mesh, so that `fit` trains it there.

    `fit`, `evaluate`, `predict` and callbacks work as before, on global batches.

    Args:
        model: a built `keras.Model`, compiled with `jit_compile=False`. Its optimizer
            may have taken steps already.
        mesh_shape: dictionary of ints: the devices along `batch`, which share out the
            rows of a batch, and along `model`, which share out the weights.
        variable_rules: ordered `Rule`s on the paths of variables.
        activation_rules: ordered `Rule`s on the paths of layers.
        pad_to_multiple_of: int or `None`. Sharded dimensions of the weights are stored
            with zeros up to a multiple of it; they act on nothing, and the ordinary
            model has its own shapes.
        device_type: `"CPU"`, `"GPU"` or `"TPU"`; `None` for the best there is.

    Returns:
        A `Placement`. Within its `gathered()` and after its `gather()` the model is an
        ordinary one again, to be saved, exported or drawn with.

    Raises:
        ValueError: the model is not compiled so or on a mesh already, a variable has
            no rule, or a dimension is not divisible.

    Example:
    ```python
    text_to_image.compile(optimizer=keras.optimizers.AdamW(1e-4))
    placement = distribute(text_to_image, {"batch": 2, "model": 4})
    text_to_image.fit(dataset, epochs=10)
    with placement.gathered():
        text_to_image.save_to_preset("trained")
    ```
    """
    if model.optimizer is None or model.jit_compile:
        raise ValueError(
            "A model must be compiled with an optimizer and `jit_compile=False` before "
            f"it is distributed. Received: optimizer={model.optimizer}, "
            f"jit_compile={model.jit_compile}."
        )
    if any(is_on_mesh(variable) for variable in model.variables):
        raise ValueError(
            "A model must not be distributed already. Received: one with variables on "
            "a mesh. Call `gather` of its placement first."
        )
    mesh = create_mesh(mesh_shape, device_type)
    placement = Placement(
        model, mesh, variable_rules, activation_rules, pad_to_multiple_of
    )
    placement.spread()
    return placement


class Placement:
    """A model's place on a mesh; made by `distribute`.

    Attributes:
        mesh: the DTensor mesh.
        pack: puts a host batch on it.
    """

    def __init__(
        self, model, mesh, variable_rules, activation_rules, pad_to_multiple_of=None
    ):
        self.mesh = mesh
        self._model = model
        self._activation_rules = activation_rules
        self._pad_to_multiple_of = pad_to_multiple_of
        self._placed: dict[int, PlacedVariable] = {}
        self._undo = []
        self._input_specs = []
        self._has_metrics = False
        self._stacking = None
        self.pack = BatchPacker(mesh)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        for variable in _variables_in_use(model):
            rank = len(variable.shape)
            self._add(variable, axes_of_variable(variable_rules, variable.path, rank))
        self._add_stacks(model.optimizer)
        for slot, axes in axes_of_slots(model.optimizer, self.axes_of):
            if id(slot) not in self._placed:
                self._add(slot, axes)
        self._add_metrics()
        # Made once: each is compiled for the variables on the mesh, which stay.
        self._functions = {
            "train_function": make_step_function(
                model, model.train_step, self._prepare
            ),
            "test_function": make_step_function(model, model.test_step, self._prepare),
            "predict_function": make_predict_function(model, self.pack, self._finish),
        }

    def _add(self, variable, axes):
        mesh_shape = {name: self.mesh.dim_size(name) for name in self.mesh.dim_names}
        shape = stored_shape(
            variable.path, variable.shape, axes, mesh_shape, self._pad_to_multiple_of
        )
        return self._place(variable, axes, shape)

    def _place(self, variable, axes, shape):
        if tuple(shape) != tuple(variable.shape):
            check_padding(self._model.optimizer)
        placed = PlacedVariable(variable, axes, self.mesh, shape)
        self._placed[id(variable)] = placed
        return placed

    def _add_stacks(self, optimizer):
        if not isinstance(optimizer, DistributedShampoo):
            return
        self._stacking = MeshStacking(self.mesh, self.axes_of)
        for variable in optimizer.stacked_variables:
            axes = self._stacking.stored_axes(variable.shape)
            self._place(variable, axes, self._stacking.stored_shape(variable.shape))

    def _add_metrics(self):
        return [
            self._add(variable, (None,) * len(variable.shape))
            for metric in self._model.metrics
            for variable in metric.variables
            if id(variable) not in self._placed
        ]

    def axes_of(self, variable):
        """The mesh axis, or `None`, of each dimension of a variable."""
        return self._placed[id(variable)].axes

    @property
    def bytes_per_device(self) -> int:
        """What a device holds of weights, slots of the optimizer, and metrics."""
        return sum(placed.bytes_per_device for placed in self._placed.values())

    def spread(self):
        """Takes the model to the mesh, with the values it has now."""
        for placed in self._placed.values():
            placed.spread()
        model = self._model
        renew_keys(model.optimizer)
        if self._stacking is not None:
            model.optimizer.stacking = self._stacking
        widths = self._padded_widths()
        self._input_specs = accept_padded_inputs(model, widths)
        self._undo = [
            work_as_stored(model.optimizer),
            *install_masks(model, widths),
            *install_layouts(model, self._activation_rules, self.mesh),
        ]
        for name, function in self._functions.items():
            setattr(model, name, function)

    def _padded_widths(self):
        """Logical widths of the layers whose kernels have columns of zeros."""
        return {
            placed.variable.path.removesuffix("/kernel"): placed.variable.shape[-1]
            for placed in self._placed.values()
            if placed.variable.path.endswith("/kernel") and placed.has_zero_columns
        }

    def gather(self):
        """Makes the model an ordinary one in one place again, with its new values."""
        for placed in self._placed.values():
            placed.gather()
        model = self._model
        renew_keys(model.optimizer)
        if self._stacking is not None:
            model.optimizer.stacking = Stacking()
        for undo in reversed(self._undo):
            undo()
        for layer, spec in self._input_specs:
            layer.input_spec = spec
        for name in self._functions:
            setattr(model, name, None)

    @contextmanager
    def gathered(self):
        """Within it the model is an ordinary one; what it was given there it keeps."""
        self.gather()
        try:
            yield self._model
        finally:
            self.spread()

    def _prepare(self, batch):
        """A host batch on the mesh; before the first one, the metrics too."""
        if not self._has_metrics:
            build_metrics(self._model, batch)
            for placed in self._add_metrics():
                placed.spread()
            self._has_metrics = True
        return self.pack(batch)

    def _finish(self, outputs):
        """What `predict` returns of a step's outputs."""
        if self._pad_to_multiple_of is None:
            return outputs
        return without_padding(self._model, outputs)


def _variables_in_use(model):
    """The variables of what a model computes.

    A task may hold other models, such as the VQGAN of its input pipeline; they stay
    where they are.
    """
    if not hasattr(model, "operations"):
        return model.variables
    layers = (x for x in model.operations if hasattr(x, "variables"))
    return list({id(v): v for layer in layers for v in layer.variables}.values())
