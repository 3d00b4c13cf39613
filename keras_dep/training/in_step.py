"""What a train step computes ahead of its training pass: crafted images and input gradients."""

import weakref
from collections.abc import Callable
from typing import Any

import keras

from keras_dep import _backend
from keras_dep._internal import compilation
from keras_dep._internal.types import Tensor
from keras_dep.attacks.base import Attack
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.looking import looking_in_step

# The function that a train step hands out: see `_backend.TransformedStep`.
StepGradient = Callable[..., Any]


def check_attack(attack: GradientAttack, network: keras.Model | None = None) -> None:
    """Raises `ValueError` unless an attack can run inside a train step, and suits the network."""
    kind = type(attack).__name__
    refused = attack.not_within_a_step() if isinstance(attack, Attack) else kind
    if refused:
        raise ValueError(
            f"{kind} within training must make one search per batch; received {refused}."
        )
    if network is None:
        return
    attack.check_layers(network)
    shape = getattr(network, "output_shape", None)
    if isinstance(shape, tuple):
        attack.check_classes(shape[-1])


def crafted(
    attack: GradientAttack,
    network: keras.Model,
    images: Tensor,
    labels: Tensor,
    gradient: StepGradient,
    offset: Tensor | None = None,
) -> Tensor:
    """Images of one search of a gradient attack, under the weights of the step.

    The network is asked in inference mode, and nothing of it changes.

    Args:
        attack: the attack, as `check_attack` lets it pass.
        network: a built `keras.Model` from images to logits.
        images: tensor `(batch, ...)`.
        labels: int32 tensor `(batch,)`.
        gradient: the function that the train step hands out.
        offset: where the search starts, as an offset from the images; default: at the images.
    """
    start = images if offset is None else attack.threat.project(images + offset, images)
    return attack.climb(looking_in_step(attack, network, gradient), start, images, labels)


def input_gradient(
    objective: Callable[[Tensor, Tensor], Tensor],
    network: keras.Model,
    images: Tensor,
    labels: Tensor,
    gradient: StepGradient,
) -> tuple[Tensor, Tensor]:
    """Gradient in the images of an objective of the network in training mode, under its weights.

    Batch statistics and random numbers are those that the training pass of the step will use;
    moving averages and random states stay as they are.

    Args:
        objective: a function of a module, `(labels, outputs)` to a value per sample `(batch,)`.
        network: a built `keras.Model` from images to logits.
        images: tensor `(batch, ...)`.
        labels: int32 tensor `(batch,)`.
        gradient: the function that the train step hands out.

    Returns:
        The gradient of the summed objective, like the images, and the outputs.
    """
    proxy = weakref.proxy(network)

    def build(traced):
        def ask(x):
            outputs = proxy(x, training=True)
            traced()
            return outputs, outputs, ()

        return _backend.gradient_and_outputs(proxy, objective, ask)

    def kept(read):
        return [(variable, read(variable)) for variable in network.non_trainable_variables]

    both = compilation.compiled_once(network, ("input_gradient", objective), build)
    slope, outputs, _ = gradient(both, images, labels, (), kept)
    return slope, outputs
