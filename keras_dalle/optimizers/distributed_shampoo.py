"""Distributed Shampoo, the optimizer that DALL·E Mega was trained with."""

# N statistics matrices, M their padded side

import re

import keras
import numpy as np
from keras import ops

from keras_dalle.optimizers.blocks import (
    BlockLayout,
    gram_matrices,
    merge_small_dims,
    pad_with_identity,
    place_matrices,
    precondition,
)
from keras_dalle.optimizers.grafting import GRAFTS, norm
from keras_dalle.optimizers.matrix_root import inverse_pth_root

_TINY = 1e-16


@keras.saving.register_keras_serializable(package="keras_dalle")
class DistributedShampoo(keras.optimizers.Optimizer):
    """Shampoo with blocks and grafting (https://arxiv.org/abs/2002.09018).

    Each block of a gradient is multiplied, along each of its dimensions, by the
    inverse root of a matrix of second moments; the length of the step is that of a
    diagonal optimizer (grafting). The defaults are those of DALL·E mini's training.

    Args:
        learning_rate: float or a `keras.optimizers.schedules.LearningRateSchedule`.
        beta1: float. Decay of the momentum.
        beta2: float. Decay of the second moments; 1 sums them up.
        block_size: int. Largest side of a block.
        graft: `"sgd"`, `"sqrt_n"`, `"adagrad"`, `"adagrad_normalized"`, `"rmsprop"` or
            `"rmsprop_normalized"`.
        graft_clip: float or `None`. Largest root mean square of RMSProp's update.
        diagonal_epsilon: float. Added to the root of the diagonal second moments.
        matrix_epsilon: float. Ridge of the matrices, relative to their largest
            eigenvalue.
        preconditioning_interval: int. Steps from one computation of roots to the next.
        start_preconditioning_step: int. Before it, the update is the grafted one.
        max_preconditioned_dim: int. Variables with a larger dimension are not
            preconditioned; DALL·E mini's embeddings are such.
        merged_dim: int or `None`. Neighbouring dimensions are merged up to this
            product; `None` keeps the shape.
        inverse_failure_threshold: float. A root with a larger error is not used; the
            former one stays.
        moving_average_for_momentum: bool. Momentum is an average, not a sum.
        nesterov: bool. Nesterov's momentum.
        weight_decay: float. Added to the gradient, as a multiple of the weight.
        precondition_with_new_roots: bool. Whether a step uses the roots that it has
            computed; in DALL·E mini's training, sharded, they act one step later.
        groups: regular expressions of variable paths. Matrices are padded to the
            largest of their group, which enters their ridge; variables that no
            expression finds are one more group. DALL·E mini's training has its scanned
            layers in groups of their own.
        name: string.
        **kwargs: of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate=1e-4,
        beta1=0.9,
        beta2=0.999,
        block_size=1024,
        graft="rmsprop_normalized",
        graft_clip=None,
        diagonal_epsilon=1e-10,
        matrix_epsilon=1e-6,
        preconditioning_interval=10,
        start_preconditioning_step=101,
        max_preconditioned_dim=4096,
        merged_dim=4096,
        inverse_failure_threshold=0.1,
        moving_average_for_momentum=True,
        nesterov=False,
        weight_decay=0.0,
        precondition_with_new_roots=False,
        groups=(),
        name="distributed_shampoo",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if graft not in GRAFTS:
            raise ValueError(
                f"`graft` must be one of {sorted(GRAFTS)}. Received: graft={graft!r}"
            )
        self.beta1 = beta1
        self.beta2 = beta2
        self.block_size = block_size
        self.graft = graft
        self.graft_clip = graft_clip
        self.diagonal_epsilon = diagonal_epsilon
        self.matrix_epsilon = matrix_epsilon
        self.preconditioning_interval = preconditioning_interval
        self.start_preconditioning_step = start_preconditioning_step
        self.max_preconditioned_dim = max_preconditioned_dim
        self.merged_dim = merged_dim
        self.inverse_failure_threshold = inverse_failure_threshold
        self.moving_average_for_momentum = moving_average_for_momentum
        self.nesterov = nesterov
        # Not Keras's `weight_decay`, which is decoupled from the momentum.
        self.coupled_weight_decay = weight_decay
        self.precondition_with_new_roots = precondition_with_new_roots
        self.groups = tuple(groups)

    # === State ===

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        reference = self.add_variable_from_reference
        self._momentums = [reference(v, name="momentum") for v in variables]
        self._graft_momentums = [reference(v, name="graft_momentum") for v in variables]
        self._diagonals = []
        if GRAFTS[self.graft].accumulate is not None:
            self._diagonals = [reference(v, name="diagonal") for v in variables]
        self._layouts = [self._layout_of(tuple(v.shape)) for v in variables]
        groups = [self._group_of(v.path) for v in variables]
        self._places, stacks = place_matrices(self._layouts, groups)
        self._exponents = [stack.exponent for stack in stacks]
        self._statistics = [
            self._add_matrices(stack, "statistics", self.matrix_epsilon)
            for stack in stacks
        ]
        self._preconditioners = [
            self._add_matrices(stack, "preconditioners", 1.0) for stack in stacks
        ]

    def _layout_of(self, shape):
        """How a variable is cut into blocks; `None` where it is not preconditioned."""
        if not shape or max(shape) > self.max_preconditioned_dim:
            return None
        if self.merged_dim is not None:
            shape = merge_small_dims(shape, self.merged_dim)
        return BlockLayout(shape, self.block_size)

    def _group_of(self, path):
        """The index of the first of `groups` that is found in a path."""
        found = [i for i, group in enumerate(self.groups) if re.search(group, path)]
        return found[0] if found else len(self.groups)

    def _add_matrices(self, stack, kind, scale):
        identity = scale * np.eye(stack.side, dtype="float32")
        matrices = self.add_variable(
            (stack.count, stack.side, stack.side),
            initializer=lambda shape, dtype: ops.broadcast_to(
                ops.cast(identity, dtype), shape
            ),
            name=f"{kind}_{stack.group}_{stack.exponent}",
        )
        return matrices

    # === Update ===

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        # Unlike in `_backend_update_step`, gradients are summed over replicas here.
        update = super()._distributed_tf_update_step
        if not self.precondition_with_new_roots:
            update(distribution, grads_and_vars, learning_rate)
        if self._statistics:
            gradients, variables = zip(*grads_and_vars, strict=True)
            distribution.extended.update(
                self._statistics[0].value,
                lambda _, *gradients: self._update_matrices(gradients, variables),
                args=gradients,
                group=False,
            )
        if self.precondition_with_new_roots:
            update(distribution, grads_and_vars, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        """Changes one variable, with the roots there are."""
        index = self._get_variable_index(variable)
        graft = self._graft_update(index, gradient)
        shampoo = self._shampoo_update(index, gradient, graft)
        if self.coupled_weight_decay:
            decay = self.coupled_weight_decay * variable
            graft, shampoo = graft + decay, shampoo + decay
        weight = 1.0 - self.beta1 if self.moving_average_for_momentum else 1.0
        is_shampoo = self.iterations >= self.start_preconditioning_step
        graft_momentum = self._graft_momentums[index]
        momentum = self._momentums[index]
        self.assign(graft_momentum, self.beta1 * graft_momentum + weight * graft)
        self.assign(momentum, self.beta1 * momentum + weight * shampoo)
        update = ops.where(is_shampoo, momentum, graft_momentum)
        if self.nesterov:
            update = self.beta1 * update + weight * ops.where(
                is_shampoo, shampoo, graft
            )
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * update)

    def _graft_update(self, index, gradient):
        """The diagonal optimizer's update, which updates its statistics."""
        graft = GRAFTS[self.graft]
        if graft.is_normalized:
            gradient = gradient / (norm(gradient) + _TINY)
        if graft.accumulate is None:
            return graft.direction(gradient)
        diagonal = self._diagonals[index]
        self.assign(diagonal, graft.accumulate(diagonal, gradient, self.beta2))
        update = gradient / (ops.sqrt(diagonal) + self.diagonal_epsilon)
        if graft.is_clipped and self.graft_clip:
            mean_square = ops.mean(ops.square(update))
            update = update / ops.maximum(1.0, ops.sqrt(mean_square) / self.graft_clip)
        return update

    def _shampoo_update(self, index, gradient, graft):
        """The preconditioned gradient, as long as the grafted update."""
        layout = self._layouts[index]
        if layout is None:
            return graft
        place = self._places[index]
        matrices = place.of(self._preconditioners)
        rank = len(layout.shape)
        blocks = [
            precondition(block, matrices[i * rank : (i + 1) * rank])
            for i, block in enumerate(layout.split(gradient))
        ]
        update = layout.merge(blocks, self._momentums[index].shape)
        return update * (norm(graft) / (norm(update) + _TINY))

    # === Matrices ===

    def _update_matrices(self, gradients, variables):
        """Takes the gradients into the statistics, and now and then their roots."""
        new = self._new_statistics(gradients, variables)
        for statistics, matrices in zip(self._statistics, new, strict=True):
            self.assign(statistics, matrices)
        is_due = self.iterations % self.preconditioning_interval == 0
        for exponent, statistics, preconditioners in zip(
            self._exponents, self._statistics, self._preconditioners, strict=True
        ):
            roots = ops.cond(
                is_due,
                lambda p=exponent, a=statistics, b=preconditioners: self._roots(
                    p, a, b
                ),
                lambda b=preconditioners: ops.convert_to_tensor(b),
            )
            self.assign(preconditioners, roots)

    def _new_statistics(self, gradients, variables):
        weight = 1.0 if self.beta2 == 1.0 else 1.0 - self.beta2
        new = [[None] * stack.shape[0] for stack in self._statistics]
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            layout, place = self._layouts[index], self._places[index]
            if layout is None:
                continue
            grams = [
                gram
                for block in layout.split(gradient)
                for gram in gram_matrices(block)
            ]
            side = self._statistics[place.stack].shape[-1]
            old = place.of(self._statistics)
            for i, (gram, statistic) in enumerate(zip(grams, old, strict=True)):
                matrix = self.beta2 * statistic + weight * gram
                new[place.stack][place.start + i] = pad_with_identity(matrix, side)
        return [ops.stack(matrices) for matrices in new]

    def _roots(self, exponent, statistics, preconditioners):
        """New roots, or the former ones where the iteration failed."""
        roots, errors = inverse_pth_root(
            ops.convert_to_tensor(statistics), exponent, self.matrix_epsilon
        )
        failed = ops.logical_not(errors < self.inverse_failure_threshold)
        return ops.where(failed[:, None, None], preconditioners, roots)

    def get_config(self):
        config = super().get_config()
        config.update({name: getattr(self, name) for name in _CONFIG})
        config["weight_decay"] = self.coupled_weight_decay
        return config


_CONFIG = (
    "beta1",
    "beta2",
    "block_size",
    "graft",
    "graft_clip",
    "diagonal_epsilon",
    "matrix_epsilon",
    "preconditioning_interval",
    "start_preconditioning_step",
    "max_preconditioned_dim",
    "merged_dim",
    "inverse_failure_threshold",
    "moving_average_for_momentum",
    "nesterov",
    "precondition_with_new_roots",
    "groups",
)
