"""A train step made of parts: adversarial images, terms of the loss, and where it is derived."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dep import _backend
from keras_dep import losses
from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import record
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.training import in_step
from keras_dep.training.loss_terms.base import LossTerm
from keras_dep.training.replay import Replay
from keras_dep.training.sharpness import SharpnessAware


@export
class DefendedTraining(_backend.TransformedStep):
    """Trains a network by a step made of parts, each of which may be left out.

    In each step, all of it compiled where the model is:

    1. Marked samples are attacked in inference mode under the weights of the step. A batch without
       marks costs nothing extra.
    2. Each loss term prepares what it needs of the images that the step trains on.
    3. The network is trained on the loss that `compile` was given plus the active loss terms.
       With `sharpness`, at weights nearby; the optimizer updates the weights themselves. With
       `replay`, in several updates, each on images that the one before perturbs.

    A part of strength 0 is left out: with none left, training equals that of the network alone bit
    for bit. The values of the active terms are logged as metrics by their names, which read 0 in
    evaluation, where no term is computed. Sample weights weigh the compiled loss, not the terms.
    The network is an attribute: save, attack or measure that.

    Args:
        network: a built `keras.Model` from images to logits.
        attack: `None`, or a gradient attack of `keras_dep.attacks` that searches once: `FGSM`,
            `RFGSM`, `BIM`, `PGD`, `MIFGSM`, `APGD` or `SAPGD`, or a class of your own that
            overrides `GradientAttack.climb` or `objective`. One that asks the network between its
            moves, as `Square`, or compares searches, cannot run inside a step.
        loss_terms: sequence of `keras_dep.training.LossTerm`.
        sharpness: `None`, or a `keras_dep.training.SharpnessAware`.
        replay: `None`, or a `keras_dep.training.CraftedNoise` or `FreeAdversarial`, without active
            loss terms or sharpness.
        **kwargs: `name`.

    Call arguments:
        inputs: images, which are trained on as they are; or a dictionary of `"image"`
            `(batch, ...)`, `"adversarial"` `(batch,)` with 1 for samples to attack and 0 for
            others, and `"start"` like the image, the offset that the attack starts from, as
            `attack.offset(image, seed)` gives it.

    Raises:
        ValueError: an attack that cannot run inside a step, or that does not suit the network; two
            terms of one name; `sharpness` or `replay` and a network that holds weights outside of
            Keras; `replay` and a part that it does not combine with.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = DefendedTraining(network, sharpness=SharpnessAware())
    >>> model(ops.zeros((3, 4))).shape
    (3, 2)
    """

    def __init__(
        self,
        network: keras.Model,
        attack: GradientAttack | None = None,
        loss_terms: Sequence[LossTerm] = (),
        sharpness: SharpnessAware | None = None,
        replay: Replay | None = None,
        **kwargs: Any,
    ) -> None:
        # What a step hands from pass to pass stays in its own precision.
        super().__init__(autocast=False, **kwargs)
        if attack is not None:
            in_step.check_attack(attack, network)
        self.network = network
        self.attack = attack
        self.loss_terms = tuple(loss_terms)
        self.sharpness = sharpness
        self.replay = replay
        self._terms = tuple(term for term in self.loss_terms if term.active)
        _check_parts(network, self._terms, sharpness)
        self._replay = replay if replay is not None and replay.active else None
        self._offset = None
        if self._replay is not None:
            _check_replay(network, replay, self._terms, sharpness)
            if self._replay.batch_size is not None:
                shape = (self._replay.batch_size, *network.input_shape[1:])
                self._offset = self.add_weight(
                    shape=shape, initializer="zeros", trainable=False, name="offset"
                )
        self._term_values = [keras.metrics.Mean(name=term.name) for term in self._terms]
        self.built = network.built

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        if isinstance(inputs, dict) and "outputs" in inputs:
            return inputs["outputs"]
        if self._replay is not None and isinstance(inputs, dict) and "carried" in inputs:
            return self._replay.outputs(self.network, inputs, training)
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.network(images, training=training)

    def transform_batch(self, x: Any, y: Any, gradient: in_step.StepGradient) -> tuple[Any, Any]:
        """The batch that the step trains on: attacked, and with what the loss terms prepare.

        Args:
            x: images, or a dictionary as in a call.
            y: labels.
            gradient: the function that the train step hands out.
        """
        if isinstance(x, dict):
            images, y = self._attacked(x, y, gradient)
        else:
            images = x
        if not self._terms:
            return images, y
        images, y = keras.tree.map_structure(ops.convert_to_tensor, (images, y))
        labels = self._labels(images, y)
        prepared = [term.prepare(self.network, images, labels, gradient) for term in self._terms]
        prepared = keras.tree.map_structure(ops.stop_gradient, prepared)
        return {"image": images, "prepared": prepared}, y

    def update_ahead(
        self,
        x: Any,
        y: Any,
        sample_weight: Tensor | None,
        update: Callable[..., tuple[Any, Tensor]],
        read: Callable[[keras.Variable], Tensor],
    ) -> Any:
        """Takes all updates of `replay` but the last, and returns the batch of the last.

        Args:
            x: what `transform_batch` has returned.
            y: labels.
            sample_weight: weights of the samples, or `None`.
            update: the function that the train step hands out.
            read: another one, from a variable to its value.

        Raises:
            ValueError: a batch larger than the `batch_size` of `replay`.
        """
        replay = self._replay
        if replay is None:
            return x
        images = ops.convert_to_tensor(x)

        def train(given):
            return update(given, y, sample_weight)

        if self._offset is None:
            return replay.ahead(images, ops.zeros_like(images), train)[0]
        size = ops.shape(images)[0]
        if isinstance(size, int) and size > self._offset.shape[0]:
            raise ValueError(
                f"batches must hold at most batch_size={self._offset.shape[0]} images with replay; "
                f"received {size}; give it the size of the largest."
            )
        stored = read(self._offset)
        last, offset = replay.ahead(images, stored[:size], train)
        return {**last, "offset": offset, "rest": stored[size:]}

    def choose_gradient(
        self,
        x: Any,
        y: Any,
        sample_weight: Tensor | None,
        training_pass: Callable[..., _backend.TrainingPass],
    ) -> Any:
        """The batch that the step trains on, with the gradient of `sharpness` where there is one.

        Args:
            x: what `transform_batch` has returned.
            y: labels.
            sample_weight: weights of the samples, or `None`.
            training_pass: the function that the train step hands out.
        """
        if self._offset is not None:
            return self._keeping_offset(x, y, sample_weight, training_pass)
        if self.sharpness is None or not self.sharpness.active:
            return x
        with self.sharpness.ascent(self.network):
            first = training_pass(x, y, sample_weight)
        second = training_pass(x, y, sample_weight, self.sharpness.offsets(first.gradients))
        counted = first if self.sharpness.surrogate is None else second
        return _with_gradients(x, second.gradients, counted, counted.updates)

    def _keeping_offset(self, x, y, sample_weight, training_pass):
        """The last update of a batch, in which the offset of the next one is stored."""
        found = training_pass({"image": x["image"]}, y, sample_weight, of_image=True)
        offset = self._replay.moved(x["offset"], found.of_image)
        offset = ops.concatenate([offset, x["rest"]], axis=0)
        place = next(i for i, v in enumerate(_backend.updated(self)) if v is self._offset)
        updates = {**found.updates, str(place): ops.reshape(offset, self._offset.shape)}
        return _with_gradients(x, found.gradients, found, updates)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        if isinstance(x, dict) and "known_gradients" in x:
            return self._loss_with_gradients(x)
        if isinstance(y_pred, dict):
            y_pred = y_pred["outputs"]
        loss = super().compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )
        if not training or not (isinstance(x, dict) and "prepared" in x):
            return loss
        labels = self._labels(x["image"], y)
        for term, metric, prepared in zip(self._terms, self._term_values, x["prepared"]):
            value = term(self.network, x["image"], labels, y_pred, prepared)
            metric.update_state(ops.stop_gradient(value))
            loss = loss + _backend.share_of_replica(ops.cast(value, loss.dtype))
        return loss

    def _loss_with_gradients(self, x):
        """The loss of a pass that is done, with given gradients in the trainable variables."""
        others = _backend.updated(self)
        for place, value in x["updates"].items():
            others[int(place)].assign(value)
        places = sorted(x["known_gradients"], key=int)
        variables = [self.trainable_variables[int(place)] for place in places]
        count = len(variables)

        # Not by a product with the weights: gradients that overflow leave the loss finite.
        @ops.custom_gradient
        def given(loss, *arguments):
            gradients = arguments[count:]

            def derivative(*slopes, upstream=None):
                slope = slopes[0] if upstream is None else upstream
                scaled = [g * ops.cast(slope, g.dtype) for g in gradients]
                return (slope, *scaled, *(ops.zeros_like(g) for g in gradients))

            return loss + 0, derivative

        weights = [ops.convert_to_tensor(variable) for variable in variables]
        return given(x["loss"], *weights, *(x["known_gradients"][place] for place in places))

    def _attacked(self, x, y, gradient):
        attack = self.attack
        if attack is None:
            raise ValueError(
                "attack must be given for batches with marks; received None; pass one to "
                f"{type(self).__name__}, or train on images alone."
            )
        # One framework hands arrays through as they are.
        x, y = keras.tree.map_structure(ops.convert_to_tensor, (x, y))
        images = x["image"]
        marked = x["adversarial"] > 0

        def craft():
            labels = self._labels(images, y)
            return in_step.crafted(attack, self.network, images, labels, gradient, x["start"])

        some = ops.any(marked)
        if _backend.readable(some):
            # An eager step searches as eagerly as the attack.
            crafted = craft() if bool(some) else images
        else:
            crafted = ops.cond(some, craft, lambda: images)
        mask = ops.reshape(marked, (-1,) + (1,) * (len(images.shape) - 1))
        return ops.stop_gradient(ops.where(mask, crafted, images)), y

    def _labels(self, images: Tensor, y: Any) -> Tensor:
        classes = self.network.compute_output_shape(tuple(images.shape))[-1]
        return losses.class_indices(y, classes)

    def get_config(self) -> Record:
        if self.attack is not None:
            record.check_complete(self.attack)
        serialize = keras.saving.serialize_keras_object
        return {
            "network": serialize(self.network),
            "attack": None if self.attack is None else serialize(self.attack),
            "loss_terms": [serialize(term) for term in self.loss_terms],
            "sharpness": None if self.sharpness is None else serialize(self.sharpness),
            "replay": None if self.replay is None else serialize(self.replay),
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: Record, custom_objects: Record | None = None
    ) -> "DefendedTraining":
        """The model that `get_config` describes."""

        def restored(part):
            if isinstance(part, (list, tuple)):
                return [restored(each) for each in part]
            if not isinstance(part, dict):
                return part
            return keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)

        return cls(**{name: restored(part) for name, part in config.items()})


def _with_gradients(x, gradients, counted, updates):
    """What `DefendedTraining` is called with where its gradients are known."""
    return {
        "image": x["image"] if isinstance(x, dict) else x,
        # Keras takes the batch size from the first entry by name, which is the image.
        "known_gradients": {str(i): g for i, g in enumerate(gradients) if g is not None},
        "loss": ops.stop_gradient(counted.loss),
        "outputs": counted.outputs,
        "updates": updates,
    }


def _check_parts(network, terms, sharpness):
    names = [term.name for term in terms]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"loss_terms must have one name each; received {name!r} {names.count(name)} times; "
                "give the second a class with a name of its own."
            )
    for term in terms:
        term.check(network)
    if sharpness is None or not sharpness.active:
        return
    with sharpness.ascent(network):
        pass
    _check_weights_of_keras("sharpness", network)


def _check_replay(network, replay, terms, sharpness):
    if sharpness is not None and sharpness.active:
        raise ValueError(
            "sharpness must be None with replay; received both, and both take several passes of a "
            "batch; choose one."
        )
    if terms:
        raise ValueError(
            f"loss_terms must be left out with replay; received {terms[0].name!r}, which is "
            "prepared once per batch, not once per update; choose one."
        )
    replay.check(network)
    _check_weights_of_keras("replay", network)


def _check_weights_of_keras(part, network):
    for layer in keras_internals.all_layers(network):
        if isinstance(layer, keras.layers.TorchModuleWrapper):
            raise ValueError(
                f"{part} needs weights that Keras reads; received a network with torch module "
                f"{layer.name!r}; write that part with Keras' layers."
            )
