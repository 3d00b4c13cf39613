"""Derivatives and train steps in torch."""

import functools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import torch

from keras_dep._backend import calls
from keras_dep._backend import generic
from keras_dep._backend import workers
from keras_dep._backend.generic import double_precision as double_precision
from keras_dep._backend.generic import over_steps as over_steps
from keras_dep._backend.generic import predict_on_batch as predict_on_batch
from keras_dep._backend.generic import programs_kept as programs_kept
from keras_dep._backend.generic import share_of_replica as share_of_replica
from keras_dep._backend.torch_curvature import differentiable_gradient as differentiable_gradient
from keras_dep._backend.torch_curvature import gauss_newton_product as gauss_newton_product
from keras_dep._backend.torch_curvature import hessian_product as hessian_product
from keras_dep._backend.torch_curvature import loss_gradient as loss_gradient
from keras_dep._backend.torch_derivatives import with_derivative as with_derivative
from keras_dep._backend.torch_layout import module_role as module_role
from keras_dep._backend.torch_maps import average_pool as average_pool
from keras_dep._backend.torch_maps import batch_normalizer as batch_normalizer
from keras_dep._backend.torch_maps import convolve as convolve
from keras_dep._backend.torch_maps import normalize as normalize
from keras_dep._backend.torch_workers import ENGINES as ENGINES
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor


def gradient_and_outputs(
    model: keras.Model,
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Tensor, Tensor, Any]],
) -> Callable[..., tuple[Tensor, Tensor, Any]]:
    def both(x: Tensor, y: Tensor, *extra: Any) -> tuple[Tensor, Tensor, Any]:
        x = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
        with torch.enable_grad():
            answers, *beside = ask(x, *extra)
            total = torch.sum(objective(y, answers))
            # The gradient of a model that rounds its input away is zero.
            gradient = torch.autograd.grad(total, x, materialize_grads=True)[0]
        return gradient, *keras.tree.map_structure(torch.detach, beside)

    return both


def stateless_outputs(
    model: keras.Model, values: Sequence[tuple[keras.Variable, Tensor]], x: Tensor
) -> tuple[Any, list[Tensor]]:
    given = {id(variable.value): tensor for variable, tensor in values}
    asked = _WithModules(model)
    replaced = {n: given[id(p)] for n, p in asked.named_parameters() if id(p) in given}
    with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
        outputs = torch.func.functional_call(asked, replaced, (x,))
    return outputs, scope.losses


class _WithModules(torch.nn.Module):
    """Runs a model in inference mode, and registers the torch modules in it as children.

    Those read their parameters directly, which `functional_call` can then replace.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        inner = (child for layer in keras_internals.all_layers(model) for child in layer.children())
        kinds = (keras.layers.Layer, torch.nn.ParameterDict)
        self.inner = torch.nn.ModuleList(each for each in inner if not isinstance(each, kinds))
        self.ask = functools.partial(model, training=False)

    def forward(self, x: Tensor) -> Any:
        return self.ask(x)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # The compiler would take minutes for a loop whose length depends on values.
    @torch.compiler.disable
    @functools.wraps(function)
    def precise(*tensors: Tensor) -> Any:
        # The user may have allowed products of reduced precision.
        backends = torch.backends
        multiplication = (backends.cuda if tensors[0].is_cuda else backends.mkldnn).matmul
        allowed = multiplication.fp32_precision
        multiplication.fp32_precision = "ieee"
        try:
            return function(*tensors)
        finally:
            multiplication.fp32_precision = allowed

    return precise


def product(
    one: Tensor, other: Tensor, transpose_one: bool = False, transpose_other: bool = False
) -> Tensor:
    one = one.mT if transpose_one else one
    other = other.mT if transpose_other else other
    if one.ndim > other.ndim:
        # Torch turns a stack times one matrix into one product, which runs in one thread.
        other = other.expand(one.shape[0], *other.shape)
    return one @ other


def subtract_rank_one(matrix: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.addcmul(matrix, left, right, value=-1)


def leading_eigenvectors(
    program: Callable[[Tensor], tuple[Tensor, Tensor]], closeness: float
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def find(matrices: Tensor) -> tuple[Tensor, Tensor]:
        if matrices.is_cuda:
            return program(matrices)
        # Double precision keeps small entries of a vector; LAPACK refuses non-finite values.
        values, vectors = torch.linalg.eigh(torch.nan_to_num(matrices).double())
        close = (values > (1 - closeness) * values[:, -1:]).sum(1) > 1
        return vectors[:, :, -1:].to(matrices.dtype), close

    return find


def marked(values: Tensor, x: Tensor) -> Tensor:
    # Zero times a non-finite value is NaN. This takes one pass; `isfinite` and `where` take four.
    return torch.add(values, x.detach(), alpha=0)


def fires(potential: Tensor, threshold: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return marked((potential >= threshold).to(potential.dtype), potential)
    potential = potential.detach()
    # Writing the comparison as numbers saves the pass that converts booleans.
    fired = torch.ge(potential, threshold, out=torch.empty_like(potential))
    return fired.add_(potential, alpha=0)


def orthogonalize(vector: Tensor, basis: Iterable[Tensor]) -> Tensor:
    # In place: allocating a tensor per vector would cost more than the arithmetic.
    vector = vector.clone()
    for unit in basis:
        vector.addcmul_(unit, torch.dot(vector, unit), value=-1)
    return vector


def combination(weights: Iterable[float], basis: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(basis[0])
    for weight, unit in zip(weights, basis):
        total.add_(unit, alpha=weight)
    return total


def branches_freely(tensor: Tensor) -> bool:
    # On a GPU a branch waits until its condition is computed.
    return not tensor.is_cuda


def readable(tensor: Tensor) -> bool:
    # On a GPU reading a value waits for its computation.
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def half_is_slow() -> bool:
    # Its kernels for half precision need AVX-512 on x86.
    weak = torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")
    return weak and keras.ops.zeros(1).device.type == "cpu"


def conditional_assign(
    condition: Tensor,
    first: Callable[[], None],
    second: Callable[[], None],
    variables: Sequence[keras.Variable],
) -> None:
    keras.ops.cond(condition, first, second)


def buffers(model: keras.Model) -> list[Any]:
    # Memories of neurons are buffers too, of the kind that no state holds.
    saved = {
        id(tensor): tensor
        for layer in keras_internals.all_layers(model)
        for tensor in layer.state_dict(keep_vars=True).values()
        if not isinstance(tensor, torch.nn.Parameter)
    }
    return [keras.ops.convert_to_numpy(tensor) for tensor in saved.values()]


def on_reduced(
    transform: Callable[[list[Tensor | None]], Sequence[Tensor | None]],
    gradients: list[Tensor | None],
) -> Sequence[Tensor | None]:
    # In a loop of the user's, DistributedDataParallel has averaged them during the backward pass.
    return transform(workers.workers().reduced(gradients))


def outermost_call() -> keras.layers.Layer | None:
    # The compiler cannot inspect frames outside its program.
    return None if torch.compiler.is_compiling() else calls.outermost()


class TransformedStep(generic.TransformedStep):
    def differentiated(self, program, values):
        values = [value.detach().requires_grad_(True) for value in values]
        with torch.enable_grad():
            total, found = program(values)
        gradients = torch.autograd.grad(total, values, allow_unused=True)
        return keras.tree.map_structure(torch.detach, found), gradients

    def update_weights(self, gradients):
        group = torch.distributed
        if group.is_available() and group.is_initialized() and group.get_world_size() > 1:
            raise ValueError(
                "replay must be None in several torch processes, which average the gradient of the "
                f"last update alone; received a replay in {group.get_world_size()}; train in one."
            )
        with torch.no_grad():
            super().update_weights(gradients)
