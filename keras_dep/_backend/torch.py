"""Derivatives and train steps in torch."""

import keras
import torch


def gradient_and_outputs(model, objective):
    def both(x, y):
        x = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
        with torch.enable_grad():
            outputs = model(x, training=False)
            total = torch.sum(objective(y, outputs))
            # A model that rounds its input away has a gradient too: zero.
            return torch.autograd.grad(total, x, materialize_grads=True)[0], outputs.detach()

    return both


def loss_gradient(model, loss):
    def gradient(x, y):
        weights = _weights(model)
        with torch.enable_grad():
            value = loss(y, model(x, training=False))
            return _flat(_gradients(value, weights)).detach()

    return gradient


def hessian_product(model, loss):
    def bind(x, y):
        weights = _weights(model)
        with torch.enable_grad():
            value = loss(y, model(x, training=False))
            gradient = _flat(_gradients(value, weights, create_graph=True))

        def product(vector):
            # The graph of the gradient serves every vector.
            return _flat(_gradients(gradient, weights, vector, retain_graph=True)).detach()

        return product

    return bind


def gauss_newton_product(model, loss):
    def bind(x, y):
        weights = _weights(model)
        with torch.enable_grad():
            outputs = model(x, training=False)
            leaf = outputs.detach().requires_grad_(True)
            (slope,) = _gradients(loss(y, leaf), [leaf], create_graph=True)
            # Linear in the cotangent, whose own gradient is then the product with the Jacobian.
            cotangent = torch.zeros_like(leaf, requires_grad=True)
            pulled = _flat(_gradients(outputs, weights, cotangent, create_graph=True))

        def product(vector):
            (pushed,) = _gradients(pulled, [cotangent], vector, retain_graph=True)
            (bent,) = _gradients(slope, [leaf], pushed, retain_graph=True)
            return _flat(_gradients(outputs, weights, bent, retain_graph=True)).detach()

        return product

    return bind


def compiled(function):
    return function


def with_derivative(program, forward, backward):
    def run(*tensors):
        # A compiler fuses the program by itself; function transforms need its own derivatives.
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return program(*tensors)
        return _WithDerivative.apply(program, forward, backward, *tensors)

    return run


class _WithDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, program, forward, backward, *tensors):
        outputs, kept = forward(*tensors)
        ctx.save_for_backward(kept, *tensors)
        ctx.program, ctx.derivative = program, backward
        return outputs

    @staticmethod
    def backward(ctx, gradient):
        kept, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        # Gradients are enabled here where a second derivative is to follow.
        if torch.is_grad_enabled():
            sources = [tensor for tensor, want in zip(tensors, wanted) if want]
            outputs = ctx.program(*tensors)
            options = {"create_graph": True, "materialize_grads": True}
            results = iter(torch.autograd.grad(outputs, sources, gradient, **options))
            found = [next(results) if want else None for want in wanted]
        else:
            found = ctx.derivative(gradient, kept, *tensors)
        return None, None, None, *found


def branches_freely(tensor):
    # On a GPU a branch waits until the value it turns on is computed.
    return not tensor.is_cuda


def either(condition, first, second, variables):
    keras.ops.cond(condition, first, second)


def on_reduced(transform, gradients):
    # DistributedDataParallel has averaged them during the backward pass.
    return transform(gradients)


class TransformedStep(keras.Model):
    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def gradient(objective, x, y):
            return gradient_and_outputs(self, objective)(x, y)[0]

        x, y = self.transform_batch(x, y, gradient)
        return super().train_step((x, y, sample_weight))


def _weights(model):
    return [variable.value for variable in model.trainable_variables]


def _gradients(outputs, inputs, cotangent=None, **options):
    """`torch.autograd.grad`, zero where nothing depends on the inputs."""
    if not outputs.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(outputs, inputs, cotangent, materialize_grads=True, **options)


def _flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
