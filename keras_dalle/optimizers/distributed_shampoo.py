"""Distributed Shampoo, the optimizer that DALL·E Mega was trained with."""

# K variables of one shape, J matrices of each, M their padded side

import functools
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
    pad_with_zeros,
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
        self._members = list(variables)
        layouts = [self._layout_of(tuple(v.shape)) for v in variables]
        self._stacks = make_stacks(layouts, [self._group_of(v.path) for v in variables])
        # Variables without matrices have slots of their own, after those of stacks.
        self._singles = [i for i, layout in enumerate(layouts) if layout is None]
        self._momentums = self._add_slots("momentum")
        self._graft_momentums = self._add_slots("graft_momentum")
        self._diagonals = []
        if GRAFTS[self.graft].accumulate is not None:
            self._diagonals = self._add_slots("diagonal")
        self._statistics = self._add_matrices("statistics", self.matrix_epsilon)
        self._preconditioners = self._add_matrices("preconditioners", 1.0)

    @property
    def stacked_variables(self):
        """Variables `[K, ...]` of the stacks: slots, statistics and their roots."""
        slots = (self._momentums, self._graft_momentums, self._diagonals)
        return [
            *(slot for kind in slots for slot in kind[: len(self._stacks)]),
            *self._statistics,
            *self._preconditioners,
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

    def _add_slots(self, kind):
        """One `[K, ...]` for each stack, and one for each other variable."""
        return [
            *(
                self.add_variable(stack.shape, name=f"{kind}_{i}", initializer="zeros")
                for i, stack in enumerate(self._stacks)
            ),
            *(
                self.add_variable_from_reference(self._members[i], name=kind)
                for i in self._singles
            ),
        ]

    def _add_matrices(self, kind, scale):
        return [
            self.add_variable(
                stack.matrices_shape,
                initializer=lambda shape, dtype: ops.broadcast_to(
                    ops.cast(scale * np.eye(shape[-1]), dtype), shape
                ),
                name=f"{kind}_{i}",
            )
            for i, stack in enumerate(self._stacks)
        ]

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
        gradients = {
            self._get_variable_index(variable): ops.convert_to_tensor(gradient)
            for variable, gradient in zip(variables, gradients, strict=True)
        }
        stacked = [self._stack(stack, gradients) for stack in self._stacks]
        if self.precondition_with_new_roots:
            self._update_matrices(stacked)
        directions = self._directions(stacked)
        if not self.precondition_with_new_roots:
            self._update_matrices(stacked)
        for i, (stack, gradient) in enumerate(zip(self._stacks, stacked, strict=True)):
            members = [self._members[index] for index in stack.members]
            weights = functools.partial(
                self.stacking.stack, members, members, stack.layout.shape
            )
            axes = tuple(range(1, len(stack.shape)))
            step = self._step(i, gradient, directions[i], weights, axes)
            rows = self.stacking.unstack(learning_rate * step, members)
            for index, variable, row in zip(stack.members, members, rows, strict=True):
                if index in gradients:
                    self.assign_sub(variable, row)
        for i, index in enumerate(self._singles, start=len(self._stacks)):
            if index in gradients:
                variable = self._members[index]
                weights = functools.partial(ops.convert_to_tensor, variable)
                step = self._step(i, gradients[index], None, weights, axes=None)
                self.assign_sub(variable, learning_rate * step)

    def _stack(self, stack, gradients):
        """The gradients of a stack's variables; without one, it is taken as 0."""
        members = [self._members[index] for index in stack.members]
        found = [
            gradients[index] if index in gradients else ops.zeros_like(member)
            for index, member in zip(stack.members, members, strict=True)
        ]
        return self.stacking.stack(found, members, stack.layout.shape)

    def _directions(self, stacked):
        """The preconditioned gradients `[K, ...]` of each stack."""
        directions = []
        for stack, preconditioners, gradients in zip(
            self._stacks, self._preconditioners, stacked, strict=True
        ):
            matrices = stack.of_blocks(self.stacking.whole(preconditioners))
            blocks = [
                precondition(block, block_matrices)
                for block, block_matrices in zip(
                    stack.layout.split(gradients), matrices, strict=True
                )
            ]
            directions.append(stack.layout.merge(blocks))
        return directions

    def _step(self, i, gradient, direction, weights, axes):
        """What a stack `[K, ...]`, or a single variable, is to be lessened by.

        Args:
            i: index of its slots.
            gradient: of it.
            direction: the preconditioned gradient, or `None`.
            weights: callable that gives the values.
            axes: dimensions of one variable; `None` for all.
        """
        graft = shampoo = self._graft_update(i, gradient, axes)
        if direction is not None:
            length = norm(graft, axes) / (norm(direction, axes) + _TINY)
            shampoo = direction * length
        if self.coupled_weight_decay:
            decay = self.coupled_weight_decay * weights()
            graft, shampoo = graft + decay, shampoo + decay
        weight = 1.0 - self.beta1 if self.moving_average_for_momentum else 1.0
        graft_momentum = self._average(self._graft_momentums[i], graft, weight, axes)
        momentum = self._average(self._momentums[i], shampoo, weight, axes)
        step = self._of_this_step(momentum, graft_momentum)
        if self.nesterov:
            direct = self._of_this_step(shampoo, graft)
            step = self.beta1 * step + weight * direct
        return step

    def _average(self, slot, update, weight, axes):
        return self._renewed(slot, lambda old: self.beta1 * old + weight * update, axes)

    def _renewed(self, slot, renew, axes):
        """The new value of a slot, which it is assigned."""
        if axes is None:
            new = renew(ops.convert_to_tensor(slot))
            self.assign(slot, new)
        else:
            new = renew(self.stacking.whole(slot))
            self.assign(slot, self.stacking.stored(new))
        return new

    def _of_this_step(self, shampoo, graft):
        """The Shampoo term from `start_preconditioning_step` on, before it the other.

        In place of `ops.where`, of which DTensor cannot run one with a single
        condition.
        """
        is_shampoo = self.iterations >= self.start_preconditioning_step
        weight = ops.cast(is_shampoo, shampoo.dtype)
        return weight * shampoo + (1 - weight) * graft

    def _graft_update(self, i, gradient, axes):
        """The diagonal optimizer's update, which updates its statistics."""
        graft = GRAFTS[self.graft]
        if graft.is_normalized:
            gradient = gradient / (norm(gradient, axes) + _TINY)
        if graft.accumulate is None:
            return graft.direction(gradient)
        diagonal = self._renewed(
            self._diagonals[i],
            lambda old: graft.accumulate(old, gradient, self.beta2),
            axes,
        )
        update = gradient / (ops.sqrt(diagonal) + self.diagonal_epsilon)
        if graft.is_clipped and self.graft_clip:
            # Not `mean`: on a mesh there may be zeros beyond the variable's shape.
            shape = self._diagonals[i].shape
            size = np.prod(shape if axes is None else shape[1:])
            root_mean_square = norm(update, axes) / np.sqrt(size)
            update = update / ops.maximum(1.0, root_mean_square / self.graft_clip)
        return update

    # === Matrices ===

    def _update_matrices(self, stacked):
        """Takes the gradients into the statistics, and now and then their roots."""
        if not self._stacks:
            return
        new = [
            self._new_statistics(stack, statistics, gradients)
            for stack, statistics, gradients in zip(
                self._stacks, self._statistics, stacked, strict=True
            )
        ]
        for statistics, matrices in zip(self._statistics, new, strict=True):
            self.assign(statistics, self.stacking.stored(matrices))
        roots = ops.cond(
            self.iterations % self.preconditioning_interval == 0,
            lambda: self._roots(new),
            lambda: [ops.convert_to_tensor(former) for former in self._preconditioners],
        )
        for preconditioners, matrices in zip(self._preconditioners, roots, strict=True):
            self.assign(preconditioners, matrices)

    def _new_statistics(self, stack, statistics, gradients):
        weight = 1.0 if self.beta2 == 1.0 else 1.0 - self.beta2
        grams = [
            pad_with_zeros(gram, stack.side)
            for block in stack.layout.split(gradients)
            for gram in gram_matrices(block)
        ]
        new = weight * ops.stack(grams, axis=1)
        new = new + self.beta2 * self.stacking.whole(statistics)
        return stack.with_identity(new)

    def _roots(self, statistics):
        """New roots of all stacks, or the former ones where the iteration failed."""
        alike: dict[tuple, list[int]] = {}
        for i, stack in enumerate(self._stacks):
            alike.setdefault((stack.side, stack.layout.exponent), []).append(i)
        result: dict[int, Any] = {}
        for (_, exponent), indices in alike.items():
            # Together, so that there is one iteration and not one for each stack.
            joined = self.stacking.join([statistics[i] for i in indices])
            former = self.stacking.join(
                [self.stacking.whole(self._preconditioners[i]) for i in indices]
            )
            roots, errors = inverse_pth_root(joined, exponent, self.matrix_epsilon)
            failed = ops.logical_not(errors < self.inverse_failure_threshold)
            roots = ops.where(failed[..., None, None], former, roots)
            parts = self.stacking.divide(roots, [statistics[i] for i in indices])
            result.update(zip(indices, map(self.stacking.stored, parts), strict=True))
        return [result[i] for i in range(len(self._stacks))]

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
