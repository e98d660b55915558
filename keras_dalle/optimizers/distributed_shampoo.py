"""Distributed Shampoo, the optimizer that DALL·E Mega was trained with."""

# K variables of one shape, J matrices of each, M their padded side

import re
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dalle.optimizers.blocks import (
    BlockLayout,
    gram_matrices,
    make_stacks,
    merge_small_dims,
    pad_with_identity,
    precondition,
)
from keras_dalle.optimizers.grafting import GRAFTS, norm
from keras_dalle.optimizers.matrix_root import inverse_pth_root
from keras_dalle.optimizers.stacking import Stacking

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
        self.stacking = Stacking()

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
        layouts = [self._layout_of(tuple(v.shape)) for v in variables]
        self._stacks = make_stacks(layouts, [self._group_of(v.path) for v in variables])
        self._statistics = [
            self._add_matrices(i, "statistics", self.matrix_epsilon)
            for i in range(len(self._stacks))
        ]
        self._preconditioners = [
            self._add_matrices(i, "preconditioners", 1.0)
            for i in range(len(self._stacks))
        ]

    @property
    def matrices(self):
        """Variables `[K, J, M, M]`: the statistics of each stack, and their roots."""
        return [*self._statistics, *self._preconditioners]

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

    def _add_matrices(self, index, kind, scale):
        shape_KJMM = self._stacks[index].matrices_shape
        identity_MM = scale * np.eye(shape_KJMM[-1], dtype="float32")
        return self.add_variable(
            shape_KJMM,
            initializer=lambda shape, dtype: ops.broadcast_to(
                ops.cast(identity_MM, dtype), shape
            ),
            name=f"{kind}_{index}",
        )

    # === Update ===

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        # Unlike in `_backend_update_step`, gradients are summed over replicas here.
        gradients, variables = zip(*grads_and_vars, strict=True)
        distribution.extended.update(
            variables[0],
            lambda _, *gradients: self._update(gradients, variables, learning_rate),
            args=gradients,
            group=False,
        )

    def _update(self, gradients, variables, learning_rate):
        indices = [self._get_variable_index(variable) for variable in variables]
        gradients = {
            index: ops.convert_to_tensor(gradient)
            for index, gradient in zip(indices, gradients, strict=True)
        }
        stacked = [self._stack(i, gradients) for i in range(len(self._stacks))]
        if self.precondition_with_new_roots:
            self._update_matrices(stacked)
        directions = self._directions(stacked)
        if not self.precondition_with_new_roots:
            self._update_matrices(stacked)
        for index, variable in zip(indices, variables, strict=True):
            self._update_variable(
                index, gradients[index], directions.get(index), variable, learning_rate
            )

    def _stack(self, i, gradients):
        """The gradients of a stack's variables; without one, it is taken as 0."""
        stack = self._stacks[i]
        members = [self._momentums[index] for index in stack.members]
        found = [
            gradients[index] if index in gradients else ops.zeros_like(member)
            for index, member in zip(stack.members, members, strict=True)
        ]
        return self.stacking.stack(found, members, stack.layout.shape)

    def _directions(self, stacked):
        """Preconditioned gradients by the index of their variable."""
        directions: dict[int, Any] = {}
        for stack, preconditioners, gradients in zip(
            self._stacks, self._preconditioners, stacked, strict=True
        ):
            matrices = stack.of_blocks(self.stacking.whole_matrices(preconditioners))
            blocks = [
                precondition(block, block_matrices)
                for block, block_matrices in zip(
                    stack.layout.split(gradients), matrices, strict=True
                )
            ]
            members = [self._momentums[index] for index in stack.members]
            tensors = self.stacking.unstack(stack.layout.merge(blocks), members)
            directions.update(zip(stack.members, tensors, strict=True))
        return directions

    def _update_variable(self, index, gradient, direction, variable, learning_rate):
        graft = shampoo = self._graft_update(index, gradient)
        if direction is not None:
            shampoo = direction * (norm(graft) / (norm(direction) + _TINY))
        if self.coupled_weight_decay:
            decay = self.coupled_weight_decay * variable
            graft, shampoo = graft + decay, shampoo + decay
        weight = 1.0 - self.beta1 if self.moving_average_for_momentum else 1.0
        graft_momentum = self._graft_momentums[index]
        momentum = self._momentums[index]
        self.assign(graft_momentum, self.beta1 * graft_momentum + weight * graft)
        self.assign(momentum, self.beta1 * momentum + weight * shampoo)
        update = self._of_this_step(momentum, graft_momentum)
        if self.nesterov:
            direct = self._of_this_step(shampoo, graft)
            update = self.beta1 * update + weight * direct
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * update)

    def _of_this_step(self, shampoo, graft):
        """The Shampoo term from `start_preconditioning_step` on, before it the other.

        In place of `ops.where`, of which DTensor cannot run one with a single
        condition.
        """
        is_shampoo = self.iterations >= self.start_preconditioning_step
        weight = ops.cast(is_shampoo, shampoo.dtype)
        return weight * shampoo + (1 - weight) * graft

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
            # Not `mean`: on a mesh there may be zeros beyond the variable's shape.
            mean_square = ops.sum(ops.square(update)) / np.prod(diagonal.shape)
            update = update / ops.maximum(1.0, ops.sqrt(mean_square) / self.graft_clip)
        return update

    # === Matrices ===

    def _update_matrices(self, stacked):
        """Takes the gradients into the statistics, and now and then their roots."""
        is_due = self.iterations % self.preconditioning_interval == 0
        for stack, statistics, preconditioners, gradients in zip(
            self._stacks, self._statistics, self._preconditioners, stacked, strict=True
        ):
            new = self._new_statistics(stack, statistics, gradients)
            self.assign(statistics, self.stacking.stored_matrices(new))
            roots = ops.cond(
                is_due,
                lambda p=stack.layout.exponent, a=new, b=preconditioners: self._roots(
                    p, a, b
                ),
                lambda b=preconditioners: ops.convert_to_tensor(b),
            )
            self.assign(preconditioners, roots)

    def _new_statistics(self, stack, statistics, gradients):
        weight = 1.0 if self.beta2 == 1.0 else 1.0 - self.beta2
        old = stack.of_blocks(self.stacking.whole_matrices(statistics))
        new = [
            pad_with_identity(self.beta2 * matrix + weight * gram, stack.side)
            for block, matrices in zip(stack.layout.split(gradients), old, strict=True)
            for matrix, gram in zip(matrices, gram_matrices(block), strict=True)
        ]
        return ops.stack(new, axis=1)

    def _roots(self, exponent, statistics, preconditioners):
        """New roots, or the former ones where the iteration failed."""
        roots, errors = inverse_pth_root(statistics, exponent, self.matrix_epsilon)
        failed = ops.logical_not(errors < self.inverse_failure_threshold)
        former = self.stacking.whole_matrices(preconditioners)
        return self.stacking.stored_matrices(
            ops.where(failed[..., None, None], former, roots)
        )

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
