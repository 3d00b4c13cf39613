"""Auto-PGD towards one wrong class after another."""

from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import losses
from keras_dep.attacks.apgd import APGD
from keras_dep.attacks.base import Attack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.losses import mean_logits
from keras_dep.models import inference


@export
class APGDT(APGD):
    """`APGD` on the targeted logit ratio, towards the likeliest wrong classes in turn.

    Per image the result is that of the first search that ended in any misclassification. It costs
    one search per class that is tried. Loss and targets are the attack's own.

    Args:
        classes: wrong classes to try, at least 1, the likeliest first; at most all of them.
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        steps: gradient steps towards each class, at least 1.
        restarts: independent searches, at least 1.
        norm: `"Linf"` or `"L2"`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Call arguments:
        y: the true classes.

    Raises:
        ValueError: an argument outside its limits, or a model of fewer than four classes.

    Source: Croce and Hein, ICML 2020 (APGD-T).

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    >>> x = np.full((2, 4), 0.5, "float32")
    >>> APGDT(classes=2, epsilon=0.1, steps=5)(model, x, np.zeros(2, "int32")).shape
    (2, 4)
    """

    def __init__(
        self,
        *,
        classes: int = 9,
        epsilon: float = 8 / 255,
        steps: int = 100,
        restarts: int = 1,
        norm: str = "Linf",
        seed: int | Sequence[int] = 0,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            steps=steps,
            restarts=restarts,
            norm=norm,
            seed=seed,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )
        self.loss = "targeted_dlr"
        self.classes = validation.whole_number("classes", classes)

    def get_config(self) -> Record:
        return {**super().get_config(), "classes": self.classes}

    @classmethod
    def from_config(cls, config: Record) -> Attack:
        decided = ("loss", "targeted")
        return super().from_config({k: v for k, v in config.items() if k not in decided})

    def objective(self, labels: Tensor, outputs: Tensor) -> Tensor:
        return losses.targeted_logit_ratio(labels, outputs)

    def _maximises(self) -> Hashable:
        return (losses.targeted_logit_ratio,)

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        classes = inference.class_count(model, images)
        if classes < 4:
            raise ValueError(f"APGDT needs at least 4 classes; received {classes}; use APGD.")
        scores = mean_logits(ops.convert_to_tensor(inference.predict(model, images)))
        wrong = ops.where(ops.one_hot(labels, classes) > 0, -float("inf"), scores)
        likeliest = ops.cast(ops.top_k(wrong, classes - 1)[1], "int32")

        def found() -> Iterator[Tensor]:
            for rank in range(min(self.classes, classes - 1)):
                pairs = ops.stack([labels, likeliest[:, rank]], axis=1)
                draws = [*np.atleast_1d(seed), rank]
                yield self._search(model, self._look(model), images, pairs, draws)

        return self._closest(model, found(), labels)

    def _fooled(self, labels: Tensor, outputs: Tensor) -> Tensor:
        return super()._fooled(labels[:, 0], outputs)
