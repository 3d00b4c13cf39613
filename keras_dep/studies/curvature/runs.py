"""Finished runs, and the test images to measure them on."""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np

from keras_dep._internal import model_files
from keras_dep._internal.types import Array
from keras_dep.callbacks import epochs
from keras_dep.curvature.precision import with_dtype
from keras_dep.data import pixels
from keras_dep.experiments import build
from keras_dep.experiments import results
from keras_dep.studies.curvature.protocol import Protocol

# Schema of the part of a result that the figures draw.
DRAWN = {
    **results.TRAINED,
    "hessian_history": [{"iteration": int, "spectral_radius": float}],
}


class Run:
    """A finished run, read from its folder.

    Args:
        folder: where `keras_dep.experiments.run` left `result.json` and `model.keras`.

    Attributes:
        settings: the run's `keras_dep.experiments.settings.Settings`.
        result: the dictionary of `result.json`.
        model: the trained network, in single precision.

    Raises:
        ValueError: the folder does not hold a finished run, or one of its files is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.settings, self.result = results.finished(folder, DRAWN)
        model = results.trained_network(folder, self.result)
        self._kept, self._saved = epochs.kept(os.path.join(folder, results.EPOCHS)), model
        # Checked before hours of measurement.
        for path in self._kept.values():
            model_files.check_weights(path)
        self.model = model if self.settings.precision == "float32" else with_dtype(model, "float32")

    def epochs(self) -> Iterator[int]:
        """Yields each epoch whose weights were kept, while the model has those weights."""
        trained = self._saved.get_weights()
        try:
            for epoch, path in self._kept.items():
                model_files.load_weights(self._saved, path)
                self._follow()
                yield epoch
        finally:
            self._saved.set_weights(trained)
            self._follow()

    def _follow(self):
        if self.model is not self._saved:
            self.model.set_weights(self._saved.get_weights())


def load_images(run: Run, protocol: Protocol, data_dir: str | None = None) -> tuple[Array, Array]:
    """Loads the first test images of a run's data set, as many as the protocol needs.

    Args:
        run: a `Run`.
        protocol: a `keras_dep.studies.curvature.Protocol`.
        data_dir: TFDS folder; `None`: the user's.

    Returns:
        Images `(batches * batch_size, height, width, channels)`, float32 in [0, 1], and integer
        labels `(batches * batch_size,)`.

    Raises:
        ValueError: the set has fewer test images, or is not there.
    """
    needed = protocol.batches * protocol.batch_size
    settings = dataclasses.replace(
        run.settings, data_dir=data_dir, train_examples=1, test_examples=needed
    )
    try:
        data = build.load_data(settings)
    except ValueError as error:
        raise ValueError(
            f"batches={protocol.batches} of batch_size={protocol.batch_size} need {needed} images: "
            f"{error}"
        ) from error
    return pixels.scaled(data.x_test), np.asarray(data.y_test)
