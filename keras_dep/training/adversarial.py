"""Heterogeneous training: batches of one distribution, a few of the other.

Extra batches are inserted by `keras_dep.callbacks.PoisonInjection`, on any model. Where the batch
itself must become adversarial under the weights of the moment, it happens here, inside the train
step: data pipelines run ahead of the weights on some backends and cannot see them on others.
"""

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep import attacks
from keras_dep import losses
from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep.attacks import record
from keras_dep.attacks.looking import looking_in_step
from keras_dep.layers import encoders

BASES = ("clean", "adversarial")


@export
class PerturbedTraining(_backend.TransformedStep):
    """Trains a network on adversarial versions of the samples marked as such.

    Each marked sample is attacked inside the train step, in inference mode, under the weights of
    that step; a batch without marks costs nothing extra. It is trained on what
    `attack(network, image, label)` crafts under these weights, from the same start: bit for bit in
    eager steps. A compiled step may round a gradient otherwise in its last bit. XLA on TensorFlow
    draws other random numbers, so the first step refuses it for a network with a random encoder.
    The network is an attribute: save, attack or measure that.

    Args:
        network: a built `keras.Model` from images to logits.
        attack: a gradient attack of `keras_dep.attacks` that searches once, in any of its settings:
            `FGSM`, `RFGSM`, `BIM`, `PGD`, `MIFGSM`, `APGD` or `SAPGD`, or a class of your own that
            overrides `GradientAttack.climb` or `objective`. One that asks the network between its
            moves, as `Square`, or compares searches, cannot run inside a step.
        **kwargs: `name`.

    Call arguments:
        inputs: images, which are trained on as they are; or a dictionary of `"image"`
            `(batch, ...)`, `"adversarial"` `(batch,)` with 1 for samples to attack and 0 for
            others, and `"start"` like the image, the offset that the attack starts from, as
            `attack.offset(image, seed)` gives it.

    Raises:
        ValueError: an attack that cannot run inside a step, or that does not suit the network.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = PerturbedTraining(network, attacks.FGSM(epsilon=0.1))
    >>> model(ops.zeros((3, 4))).shape
    (3, 2)
    """

    def __init__(self, network, attack, **kwargs):
        super().__init__(**kwargs)
        _check_attack(attack, network)
        self.network = network
        self.attack = attack
        self.built = network.built

    def call(self, inputs, training=None):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.network(images, training=training)

    def transform_batch(self, x, y, gradient):
        if not isinstance(x, dict):
            return x, y
        self._check_draws()
        # One framework hands arrays through as they are.
        x, y = keras.tree.map_structure(ops.convert_to_tensor, (x, y))
        images, attack = x["image"], self.attack
        marked = x["adversarial"] > 0

        def craft():
            classes = self.network.compute_output_shape(tuple(images.shape))[-1]
            labels = losses.class_indices(y, classes)
            start = attack.threat.project(images + x["start"], images)
            look = looking_in_step(attack, self.network, gradient)
            return attack.climb(look, start, images, labels)

        some = ops.any(marked)
        if _backend.readable(some):
            # An eager step searches as eagerly as the attack.
            crafted = craft() if bool(some) else images
        else:
            crafted = ops.cond(some, craft, lambda: images)
        mask = ops.reshape(marked, (-1,) + (1,) * (len(images.shape) - 1))
        return ops.stop_gradient(ops.where(mask, crafted, images)), y

    def _check_draws(self):
        """Refuses a compiled step whose random encoder draws otherwise than the attack's."""
        if self.compiled_draws_agree or not self.jit_compile:
            return
        for layer in keras_internals.all_layers(self.network):
            if isinstance(layer, encoders.RateEncoding):
                raise ValueError(
                    "jit_compile must be False where XLA draws other random numbers than the "
                    f"attack; received {self.jit_compile} for a network with {layer.name!r}."
                )

    def get_config(self):
        record.check_complete(self.attack)
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "attack": keras.saving.serialize_keras_object(self.attack),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network, attack = (
            keras.saving.deserialize_keras_object(each, custom_objects=custom_objects)
            if "class_name" in each
            # Files of old hold the settings of a PGD.
            else attacks.PGD(**each)
            for each in (config["network"], config["attack"])
        )
        return cls(network, attack, name=config["name"])


def _check_attack(attack, network=None):
    kind = type(attack).__name__
    refused = attack.not_within_a_step() if hasattr(attack, "not_within_a_step") else kind
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

    def __init__(self, batches, base, attack, replaced=None):
        super().__init__()
        if base not in BASES:
            raise ValueError(f"base must be one of {', '.join(BASES)}; received {base!r}.")
        _check_attack(attack)
        self.batches = batches
        self.base = base
        self.attack = attack
        self.replaced = replaced

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
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

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()


class PoisonSource:
    """Extra batches for insertion, drawn from a training set by seed.

    Args:
        images: float images in [0, 1] or uint8, `(n, ...)`.
        labels: integer labels `(n,)`.
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

    def __init__(self, images, labels, batch_size, resample=True, seed=0):
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

    def __call__(self, epoch, number):
        """The extra batch `number` of `epoch`, as float32 images and int32 labels."""
        draw = np.random.default_rng([self.seed, epoch if self.resample else 0, number])
        chosen = draw.choice(len(self.images), self.batch_size, replace=False)
        images = self.images[chosen]
        if images.dtype == np.uint8:
            images = images.astype("float32") / np.float32(255)
        return images.astype("float32"), self.labels[chosen].astype("int32")
