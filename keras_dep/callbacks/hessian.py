"""The callback that follows the Hessian's spectrum during training."""

import time
import warnings

import keras

from keras_dep.curvature import Hessian


class HessianSpectrum(keras.callbacks.Callback):
    """Logs the Hessian's leading eigenvalues on a fixed batch.

    Writes `hessian/lambda_1` to `hessian/lambda_k` (largest magnitude first, signed),
    `hessian/spectral_radius`, `hessian/leading_share` (`|lambda_1|` over the sum of the magnitudes)
    and `hessian/seconds`, its own cost. Training is not disturbed. A batch on which the loss is not
    finite is reported and skipped.

    Args:
        x: inputs of the batch.
        y: labels of the batch.
        loss: the loss; default that of `model.compile`, which must then be a loss object.
        every: `"epoch"`, or a number of training steps, counted on from epoch to epoch.
        count: number of eigenvalues.
        tolerance: residual, relative to the spectral radius, at which they count as found.
        max_steps: limit of Hessian-vector products a time.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        network: the model to measure where it is not the one in `fit`.

    Attributes:
        history: list of dictionaries `iteration`, `eigenvalues`, `spectral_radius`,
            `leading_share`, `seconds`.

    Raises:
        ValueError: `every` is neither `"epoch"` nor a positive integer.

    Source: arXiv 2505.11134, Table 2, which uses power iteration.
    """

    def __init__(
        self,
        x,
        y,
        loss=None,
        every="epoch",
        count=5,
        tolerance=1e-2,
        max_steps=60,
        writer=None,
        network=None,
    ):
        super().__init__()
        if every != "epoch" and (type(every) is not int or every < 1):
            raise ValueError(f'every must be "epoch" or a number of steps; received {every!r}.')
        self.x = x
        self.y = y
        self.loss = loss
        self.every = every
        self.count = count
        self.tolerance = tolerance
        self.max_steps = max_steps
        self.writer = writer
        self.network = network
        self.history = []
        self._hessian = None
        self._steps = 0
        self._last_batch = -1

    def on_epoch_begin(self, epoch, logs=None):
        self._last_batch = -1

    def on_train_batch_end(self, batch, logs=None):
        # One execution may hold several steps.
        before, self._steps = self._steps, self._steps + batch - self._last_batch
        self._last_batch = batch
        if self.every != "epoch" and self._steps // self.every > before // self.every:
            self.measure()

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self.measure()

    def measure(self):
        """Computes and logs the spectrum now; returns its record, or `None` if it was skipped."""
        model = self.model
        if self._hessian is None:
            self._hessian = Hessian(self.network or model, self.loss or model.loss)
        started = time.perf_counter()
        try:
            spectrum = self._hessian.spectrum(
                self.x, self.y, self.count, self.tolerance, self.max_steps
            )
        except ValueError as error:
            warnings.warn(f"Hessian spectrum skipped: {error}", stacklevel=2)
            return None
        record = {
            "iteration": int(model.optimizer.iterations),
            "eigenvalues": [float(value) for value in spectrum.eigenvalues],
            "spectral_radius": spectrum.radius,
            "leading_share": spectrum.leading_share,
            "seconds": time.perf_counter() - started,
        }
        self.history.append(record)
        if self.writer is not None:
            self._write(record)
        return record

    def get_state(self):
        return {"history": self.history, "steps": self._steps}

    def set_state(self, state):
        self.history = list(state["history"])
        self._steps = state["steps"]

    def _write(self, record):
        step = record["iteration"]
        for rank, value in enumerate(record["eigenvalues"], start=1):
            self.writer.scalar(f"hessian/lambda_{rank}", value, step)
        for name in ("spectral_radius", "leading_share", "seconds"):
            self.writer.scalar(f"hessian/{name}", record[name], step)
