"""Derivatives and train steps in torch."""

import functools
import os
import shutil

import keras
import torch

from keras_dep._backend import calls
from keras_dep._backend import generic
from keras_dep._backend import windows
from keras_dep._backend.generic import double_precision as double_precision
from keras_dep._backend.generic import over_steps as over_steps
from keras_dep._backend.generic import share_of_replica as share_of_replica
from keras_dep._backend.torch_curvature import differentiable_gradient as differentiable_gradient
from keras_dep._backend.torch_curvature import gauss_newton_product as gauss_newton_product
from keras_dep._backend.torch_curvature import hessian_product as hessian_product
from keras_dep._backend.torch_curvature import loss_gradient as loss_gradient
from keras_dep._backend.torch_layout import module_role as module_role
from keras_dep._internal import keras_internals


def gradient_and_outputs(model, objective, ask):
    def both(x, y, *extra):
        x = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
        with torch.enable_grad():
            outputs, beside = ask(x, *extra)
            total = torch.sum(objective(y, outputs))
            # A model that rounds its input away has a gradient too: zero.
            gradient = torch.autograd.grad(total, x, materialize_grads=True)[0]
        return gradient, *keras.tree.map_structure(torch.detach, (outputs, beside))

    return both


def stateless_outputs(model, values, x):
    given = {id(variable.value): tensor for variable, tensor in values}
    asked = _WithModules(model)
    replaced = {n: given[id(p)] for n, p in asked.named_parameters() if id(p) in given}
    with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
        outputs = torch.func.functional_call(asked, replaced, (x,))
    return outputs, scope.losses


class _WithModules(torch.nn.Module):
    """A model in inference mode, and the torch modules in it, which read past Keras' variables."""

    def __init__(self, model):
        super().__init__()
        inner = (child for layer in keras_internals.all_layers(model) for child in layer.children())
        kinds = (keras.layers.Layer, torch.nn.ParameterDict)
        self.inner = torch.nn.ModuleList(each for each in inner if not isinstance(each, kinds))
        self.ask = functools.partial(model, training=False)

    def forward(self, x):
        return self.ask(x)


def compiled(function):
    # The compiler would take minutes over a loop whose length is a matter of values.
    @torch.compiler.disable
    @functools.wraps(function)
    def precise(*tensors):
        # A user may let products be rounded to fewer bits.
        backends = torch.backends
        multiplication = (backends.cuda if tensors[0].is_cuda else backends.mkldnn).matmul
        allowed = multiplication.fp32_precision
        multiplication.fp32_precision = "ieee"
        try:
            return function(*tensors)
        finally:
            multiplication.fp32_precision = allowed

    return precise


def product(one, other, transpose_one=False, transpose_other=False):
    one = one.mT if transpose_one else one
    other = other.mT if transpose_other else other
    if one.ndim > other.ndim:
        # A stack times one matrix would become one product, whose columns one thread takes.
        other = other.expand(one.shape[0], *other.shape)
    return one @ other


def subtract_rank_one(matrix, left, right):
    return torch.addcmul(matrix, left, right, value=-1)


def leading_eigenvectors(program, closeness):
    def find(matrices):
        if matrices.is_cuda:
            return program(matrices)
        # Small entries of a vector matter, and LAPACK refuses what is not finite.
        values, vectors = torch.linalg.eigh(torch.nan_to_num(matrices).double())
        close = (values > (1 - closeness) * values[:, -1:]).sum(1) > 1
        return vectors[:, :, -1:].to(matrices.dtype), close

    return find


def with_derivative(program, forward, backward):
    def run(*tensors):
        # A compiler fuses the program by itself; function transforms need its own derivatives.
        if torch.compiler.is_compiling() or keras_internals.torch_transforms_active():
            return program(*tensors)
        return _WithDerivative.apply(program, forward, backward, *tensors)

    return run


class _WithDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, program, forward, backward, *tensors):
        ctx.fused = _fuses(tensors[0])
        if ctx.fused:
            outputs = _fused(_forward)(forward, *_arranged(tensors, len(tensors) > 1))
            outputs, kept = outputs.reshape(tensors[0].shape), ()
        else:
            outputs, kept = forward(*tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.program, ctx.forward, ctx.derivative = program, forward, backward
        return outputs

    @staticmethod
    def backward(ctx, gradient):
        wanted = ctx.needs_input_grad[3:]
        # Recomputation hands them out once.
        saved = ctx.saved_tensors
        tensors, kept = saved[: len(wanted)], saved[len(wanted) :]
        # Gradients are enabled here where a second derivative is to follow.
        if torch.is_grad_enabled():
            sources = [tensor for tensor, want in zip(tensors, wanted) if want]
            outputs = ctx.program(*tensors)
            options = {"create_graph": True, "materialize_grads": True}
            results = iter(torch.autograd.grad(outputs, sources, gradient, **options))
            found = [next(results) if want else None for want in wanted]
        elif ctx.fused:
            given = _arranged((gradient, *tensors), len(tensors) > 1)
            found = _fused(_backward)(ctx.forward, ctx.derivative, *given)
            found = [found[0].reshape(gradient.shape), *found[1:]]
        else:
            found = ctx.derivative(gradient, kept, *tensors)
        return None, None, None, *found


# Longer ones take the compiler a minute.
LONGEST_FUSED = 32


def _fuses(tensor):
    """Whether the compiler is to make one kernel of all operations, as a GPU starts each apart."""
    return tensor.numel() > 0 and len(tensor) <= LONGEST_FUSED and _can_fuse(tensor.device.type)


@functools.cache
def _can_fuse(device):
    """Whether it is a GPU, and there is what torch's compiler needs for its kernels."""
    compilers = (os.environ.get("CC"), "gcc", "clang", "cc")
    found = any(shutil.which(name) for name in compilers if name)
    return device == "cuda" and found and keras_internals.torch_has_triton()


@functools.cache
def _fused(function):
    # Sizes are variables of one program, of which the compiler keeps eight to a function.
    return torch.compile(function, dynamic=True)


def _forward(forward, *tensors):
    return forward(*tensors)[0]


def _backward(forward, backward, gradient, *tensors):
    # To compute again what the forward kept takes less than to fetch it.
    return backward(gradient, forward(*tensors)[1], *tensors)


def _arranged(tensors, constants):
    """What one program serves whatever the sizes: sizes that happen to be equal make it another.

    Only constants that are broadcast need the axes behind the steps. Whether a gradient is wanted
    would be another program too, and what a tensor is a view of; `data` tells neither.
    """
    return [tensor.data if constants else tensor.flatten(1).data for tensor in tensors]


def marked(values, x):
    # Zero times what is not finite is NaN: one pass, where a test for it takes four.
    return torch.add(values, x.detach(), alpha=0)


def fires(potential, threshold):
    if torch.compiler.is_compiling():
        return marked((potential >= threshold).to(potential.dtype), potential)
    potential = potential.detach()
    # A comparison that writes numbers saves the pass that converts truth values.
    fired = torch.ge(potential, threshold, out=torch.empty_like(potential))
    return fired.add_(potential, alpha=0)


def convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format):
    kernel = keras.ops.convert_to_tensor(kernel)
    bias = None if bias is None else keras.ops.convert_to_tensor(bias)
    if inputs.device.type == "cpu":
        inputs, strides = windows.stepped(inputs, kernel, strides, data_format)
        if windows.preferable(inputs, kernel, strides, padding, dilation_rate, data_format):
            return windows.product(inputs, kernel, bias, strides, padding, data_format)
    if torch.compiler.is_compiling():
        # The compiler orders memory by itself, and fails on an order of unknown sizes.
        options = (strides, padding, dilation_rate, data_format)
        return generic.convolve(inputs, kernel, bias, *options)
    maps = _maps(inputs, data_format)
    zeros = [gap * (size - 1) for gap, size in zip(dilation_rate, kernel.shape)]
    if padding == "valid":
        zeros = 0
    elif max(strides) == 1 and not any(total % 2 for total in zeros):
        zeros = [total // 2 for total in zeros]
    else:
        # Uneven padding depends on the size.
        options = {"data_format": data_format, "dilation_rate": dilation_rate}
        outputs = keras.ops.conv(inputs, kernel, strides, padding, **options)
        maps = _maps(outputs, data_format)
        return _from_maps(maps if bias is None else maps + bias[:, None, None], data_format)
    groups = maps.shape[1] // kernel.shape[2]
    options = {"stride": strides, "padding": zeros, "dilation": dilation_rate, "groups": groups}
    weights = _Rearranged.apply(kernel, False)
    return _from_maps(torch.nn.functional.conv2d(maps, weights, bias, **options), data_format)


class _Rearranged(torch.autograd.Function):
    """A kernel `(height, width, inputs, outputs)` as torch's, its gradient as Keras', or back.

    Either lies in memory channels last, so that both are transposed matrices. Tap by tap, what is
    read and what is written stay in caches.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(kernel, back):
        if back:
            outputs, inputs, *window = kernel.shape
            rows = kernel.permute(0, 2, 3, 1).reshape(outputs, -1, inputs)
            taps = torch.cat([tap.t() for tap in rows.unbind(1)])
            return taps.reshape(*window, inputs, outputs)
        *window, inputs, outputs = kernel.shape
        taps = kernel.reshape(-1, inputs, outputs)
        rows = torch.cat([tap.t() for tap in taps.unbind()], 1)
        return rows.reshape(outputs, *window, inputs).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.back = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return _Rearranged.apply(gradient, not ctx.back), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return _Rearranged.apply(tangent, ctx.back)


def average_pool(inputs, pool_size, strides, padding, data_format):
    if padding != "valid" or torch.compiler.is_compiling():
        return keras.ops.average_pool(inputs, pool_size, strides, padding, data_format)
    maps = _maps(inputs, data_format)
    return _from_maps(torch.nn.functional.avg_pool2d(maps, pool_size, strides), data_format)


def _maps(inputs, data_format):
    """`(batch, channels, height, width)`, in memory as it was; Keras copies there and back."""
    if data_format == "channels_first":
        return inputs
    return inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _from_maps(maps, data_format):
    return maps if data_format == "channels_first" else maps.permute(0, 2, 3, 1)


def batch_normalizer(program):
    def normalize(steps, gamma, beta, axis, epsilon):
        if not steps.numel():
            return program(steps, gamma, beta, axis, epsilon)
        if gamma is None:
            # Statistics take the parameters' precision, and otherwise the inputs'.
            dtype = torch.promote_types(steps.dtype, torch.float32)
            gamma = steps.new_ones(steps.shape[axis + 1], dtype=dtype)
        found = [
            torch.native_batch_norm(
                step.movedim(axis, 1), gamma, beta, None, None, True, 0.0, epsilon
            )
            for step in steps
        ]
        outputs, means, deviations = zip(*found)
        variances = (torch.stack(deviations) ** -2 - epsilon).clamp(min=0.0)
        outputs = [output.movedim(1, axis) for output in outputs]
        # A stack of one is a copy.
        outputs = torch.stack(outputs) if len(outputs) > 1 else outputs[0][None]
        return outputs, torch.stack(means), variances

    return normalize


def normalize(inputs, mean, variance, gamma, beta, axis, epsilon):
    outputs = torch.nn.functional.batch_norm(
        inputs.movedim(axis, 1), mean, variance, gamma, beta, False, 0.0, epsilon
    )
    return outputs.movedim(1, axis)


def orthogonalize(vector, basis):
    # In place: memory anew for each vector would cost more than the arithmetic.
    vector = vector.clone()
    for unit in basis:
        vector.addcmul_(unit, torch.dot(vector, unit), value=-1)
    return vector


def combination(weights, basis):
    total = torch.zeros_like(basis[0])
    for weight, unit in zip(weights, basis):
        total.add_(unit, alpha=weight)
    return total


def branches_freely(tensor):
    # On a GPU a branch waits until the value it turns on is computed.
    return not tensor.is_cuda


def readable(tensor):
    # On a GPU who reads a value waits for it.
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def conditional_assign(condition, first, second, variables):
    keras.ops.cond(condition, first, second)


def on_reduced(transform, gradients):
    # DistributedDataParallel has averaged them during the backward pass.
    return transform(gradients)


def outermost_call():
    # A compiler cannot follow what stands outside of its program.
    return None if torch.compiler.is_compiling() else calls.outermost()


class TransformedStep(generic.TransformedStep):
    def differentiated(self, program, values):
        values = [value.detach().requires_grad_(True) for value in values]
        with torch.enable_grad():
            total, found = program(values)
        gradients = torch.autograd.grad(total, values, allow_unused=True)
        return keras.tree.map_structure(torch.detach, found), gradients
