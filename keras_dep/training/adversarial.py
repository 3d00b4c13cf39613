"""Heterogeneous training: batches of one distribution, a few of the other.

Extra batches are inserted by `keras_dep.callbacks.PoisonInjection`, on any model. Where the batch
itself must become adversarial under the weights of the moment, it happens inside the train step:
data pipelines run ahead of the weights on some backends and cannot see them on others.
"""

from typing import Any

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.data import pixels
from keras_dep.data.loader import Batches
from keras_dep.data.source import Images
from keras_dep.data.source import Labels
from keras_dep.training.defended import DefendedTraining
from keras_dep.training.in_step import check_attack
from keras_dep.training.poison_schedule import PoisonSchedule

BASES = ("clean", "adversarial")


@export
class PerturbedTraining(DefendedTraining):
    """Trains a network on adversarial versions of the samples marked as such.

    Each marked sample is attacked inside the train step, in inference mode, under the weights of
    that step; a batch without marks costs nothing extra. It is trained on what
    `attack(network, image, label)` crafts under these weights, from the same start: bit for bit in
    eager steps. A compiled step may round a gradient otherwise in its last bit. XLA on TensorFlow
    has another generator of random numbers: the images of a network that draws in inference then
    agree in distribution alone. The network is an attribute: save, attack or measure that.
    `DefendedTraining` adds loss terms and sharpness-aware steps.

    Args:
        network: a built `keras.Model` from images to logits.
        attack: a gradient attack of `keras_dep.attacks` that searches once, in any of its settings,
            as in `DefendedTraining`.
        **kwargs: `name`.

    Call arguments:
        inputs: images, or a dictionary with marks, as in `DefendedTraining`.

    Raises:
        ValueError: an attack that cannot run inside a step, or that does not suit the network.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = PerturbedTraining(network, attacks.FGSM(epsilon=0.1))
    >>> model(keras.ops.zeros((3, 4))).shape
    (3, 2)
    """

    def __init__(self, network: keras.Model, attack: GradientAttack, **kwargs: Any) -> None:
        super().__init__(network, attack, **kwargs)

    def get_config(self) -> Record:
        config = super().get_config()
        return {name: config[name] for name in ("network", "attack", "name")}

    @classmethod
    def from_config(
        cls, config: Record, custom_objects: Record | None = None
    ) -> "PerturbedTraining":
        attack = config["attack"]
        if "class_name" not in attack:
            # Files of old hold the settings of a PGD.
            attack = keras.saving.serialize_keras_object(attacks.PGD(**attack))
        return super().from_config({**config, "attack": attack}, custom_objects)


class MarkedBatches(keras.utils.PyDataset):
    """Batches for `PerturbedTraining`: which of them are adversarial, and where the search starts.

    Args:
        batches: a `keras_dep.data.Batches`, whose `epoch` is followed.
        base: `"clean"` or `"adversarial"`: what an ordinary batch is.
        attack: the attack of the `PerturbedTraining`; its seed fixes the random starts.
        replaced: a `keras_dep.PoisonSchedule` of batches that are the opposite of the base, or
            `None`.

    Raises:
        ValueError: unknown `base`, or an attack that cannot run inside a step.
    """

    def __init__(
        self,
        batches: Batches,
        base: str,
        attack: GradientAttack,
        replaced: PoisonSchedule | None = None,
    ) -> None:
        super().__init__()
        validation.one_of("base", base, BASES)
        check_attack(attack)
        self.batches = batches
        self.base = base
        self.attack = attack
        self.replaced = replaced

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[dict[str, Array], Array]:
        images, labels = self.batches[index]
        epoch = self.batches.epoch
        odd = self.replaced is not None and index in self.replaced.batches(epoch, len(self))
        adversarial = (self.base == "adversarial") != odd
        start = None
        if adversarial:
            # As in the first search of the attack itself.
            start = self.attack.offset(images, [*np.atleast_1d(self.attack.seed), epoch, index])
        start = np.zeros_like(images) if start is None else start
        marks = np.full(len(images), adversarial, "float32")
        return {"image": images, "adversarial": marks, "start": start}, labels

    def on_epoch_begin(self) -> None:
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


class PoisonSource:
    """Extra batches for insertion, drawn from a training set by seed.

    Args:
        images: float images in [0, 1] or uint8, `(n, ...)`; or the images of a
            `keras_dep.data.Source`.
        labels: integer labels `(n,)`; or the labels of that source.
        batch_size: images per extra batch, at most `n`.
        resample: draw anew each epoch, or take the same images every time.
        seed: seed of the draws.

    Raises:
        ValueError: `batch_size` outside [1, n].

    Example:

    >>> source = PoisonSource(np.zeros((10, 4), "float32"), np.zeros(10, "int32"), batch_size=2)
    >>> source(epoch=0, number=0)[0].shape
    (2, 4)
    """

    def __init__(
        self,
        images: Array | Images,
        labels: Array | Labels,
        batch_size: int,
        resample: bool = True,
        seed: int = 0,
    ) -> None:
        if not 1 <= batch_size <= len(images):
            raise ValueError(
                f"batch_size must lie in [1, {len(images)}], the images at hand; "
                f"received {batch_size}."
            )
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.resample = resample
        self.seed = seed

    def __call__(self, epoch: int, number: int) -> tuple[Array, Array]:
        """The extra batch `number` of `epoch`, as float32 images and int32 labels."""
        draw = np.random.default_rng([self.seed, epoch if self.resample else 0, number])
        chosen = draw.choice(len(self.images), self.batch_size, replace=False)
        return pixels.scaled(self.images[chosen]), self.labels[chosen].astype("int32")
