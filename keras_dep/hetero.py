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
from keras_dep._export import export
from keras_dep.attacks import gradient as gradient_attack

BASES = ("clean", "adversarial")


@export
class PerturbedTraining(_backend.TransformedStep):
    """Trains a network on adversarial versions of the samples marked as such.

    Each marked sample is attacked inside the train step, in inference mode, under the weights of
    that step; a batch without marks costs nothing extra. The network is an attribute: save, attack
    or measure that.

    Args:
        network: a built `keras.Model` from images to logits.
        attack: a `keras_dep.attacks` attack without restarts.
        **kwargs: `name`.

    Call arguments:
        inputs: images, which are trained on as they are; or a dictionary of `"image"`
            `(batch, ...)`, `"adversarial"` `(batch,)` with 1 for samples to attack and 0 for
            others, and `"start"` like the image, the offset that the attack starts from.

    Raises:
        ValueError: an attack with restarts.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = PerturbedTraining(network, attacks.FGSM(epsilon=0.1))
    >>> model(ops.zeros((3, 4))).shape
    (3, 2)
    """

    def __init__(self, network, attack, **kwargs):
        super().__init__(**kwargs)
        if attack.threat.restarts > 1:
            raise ValueError(
                f"Training takes one search per batch; received restarts={attack.threat.restarts}; "
                "use restarts=1."
            )
        self.network = network
        self.attack = attack
        self.built = network.built

    def call(self, inputs, training=None):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.network(images, training=training)

    def transform_batch(self, x, y, gradient):
        if not isinstance(x, dict):
            return x, y
        # One framework hands arrays through as they are.
        x, y = keras.tree.map_structure(ops.convert_to_tensor, (x, y))
        images = x["image"]
        marked = x["adversarial"] > 0

        def craft():
            return gradient_attack.ascend(
                lambda candidate, labels: gradient(self.attack.objective, candidate, labels),
                self.attack.threat.project(images + x["start"], images),
                images,
                y,
                self.attack.threat,
            )

        crafted = ops.cond(ops.any(marked), craft, lambda: images)
        mask = ops.reshape(marked, (-1,) + (1,) * (len(images.shape) - 1))
        return ops.stop_gradient(ops.where(mask, crafted, images)), y

    def get_config(self):
        threat = self.attack.threat
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "attack": {
                "epsilon": threat.epsilon,
                "step_size": threat.step_size,
                "steps": threat.steps,
                "random_start": threat.random_start,
                "norm": threat.norm,
                "seed": self.attack.seed,
            },
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(
            config["network"], custom_objects=custom_objects
        )
        return cls(network, attacks.PGD(**config["attack"]), name=config["name"])


class MarkedBatches(keras.utils.PyDataset):
    """Batches for `PerturbedTraining`: which of them are adversarial, and where the search starts.

    Args:
        batches: a `keras_dep.Batches`, whose `epoch` is followed.
        base: `"clean"` or `"adversarial"`: what an ordinary batch is.
        attack: the attack of the `PerturbedTraining`; its seed fixes the random starts.
        replaced: a `keras_dep.PoisonSchedule` of batches that are the opposite of the base, or
            `None`.

    Raises:
        ValueError: unknown `base`.
    """

    def __init__(self, batches, base, attack, replaced=None):
        super().__init__()
        if base not in BASES:
            raise ValueError(f"base must be one of {', '.join(BASES)}; received {base!r}.")
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
        start = np.zeros_like(images)
        if adversarial and self.attack.threat.random_start:
            # As in the first search of the attack itself.
            seed = [self.attack.seed, epoch, index, 0]
            start = gradient_attack.random_offset(self.attack.threat, images, seed)
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
