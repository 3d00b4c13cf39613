"""The callback that logs the leading eigenvalues of the Hessian during training."""

import dataclasses
import operator
import time
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_dep import distribution
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.curvature import alignment
from keras_dep.curvature.flat_vectors import NotFinite
from keras_dep.curvature.operators import Hessian
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter

# The fields of an alignment that are one number for all weights.
ALIGNED = tuple(f.name for f in dataclasses.fields(alignment.Alignment) if f.name != "layers")


class HessianSpectrum(keras.callbacks.Callback):
    """Logs the Hessian's leading eigenvalues on a fixed batch.

    Writes `hessian/lambda_1` to `hessian/lambda_k` (largest magnitude first, signed),
    `hessian/spectral_radius`, `hessian/leading_share` (`|lambda_1|` over the sum of the magnitudes)
    and `hessian/seconds`, the cost of the measurement. With `align` it also writes the fields of
    `keras_dep.curvature.alignment.Alignment` as `hessian/<field>`, and `hessian/cosine/<path>` of
    each weight that `DEP` projects or would project. Steps are the optimizer's iterations.

    Weights and random generators are left as they were. A measurement whose loss is not finite is
    skipped with a warning. Another model, another loss or other trainable weights than at the last
    measurement are compiled again.

    Args:
        x: inputs of the batch, array or tensor `(n, ...)`.
        y: labels of the batch, `(n, ...)`.
        loss: the loss; default: that of `model.compile`, which must then be a loss object.
        every: `"epoch"`, or a number of training steps, counted across epochs.
        count: number of eigenvalues, at least 1.
        tolerance: residual, relative to the spectral radius, at which an eigenvalue has converged.
        max_steps: largest number of Hessian-vector products per measurement.
        batch_size: largest number of examples per product, as for `keras_dep.Hessian.at`.
        align: whether to compare the gradient with the eigenvectors too.
        max_share: largest share of the training time, in wall clock, to spend on measurements;
            `None`: no limit. A measurement is skipped if, at the cost of the last one, it would
            exceed the share; the first time with a warning. If the last one was skipped, it is made
            when training ends. The first measurement, which compiles, does not count.
        writer: the `keras_dep.summaries.EventWriter` to write to; `None` writes nothing.
        network: the model to measure; default: the one in `fit`.
        regularizers: whether the loss includes the penalties, as for `keras_dep.Hessian`.

    Attributes:
        history: list of dictionaries `iteration`, `surrogate`, `eigenvalues`, `residuals`,
            `spectral_radius`, `leading_share`, `printed_ratio`, `seconds`, and `alignment` on
            request.
        left_out: iterations at which a measurement was skipped for its cost.
        not_finite: iterations at which the loss or a derivative was not finite.

    Raises:
        ValueError: `every` is neither `"epoch"` nor a positive integer, or a negative share.

    Source: arXiv 2505.11134, Table 2, which uses power iteration.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> model.compile("sgd", keras.losses.MeanSquaredError())
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> spectrum = HessianSpectrum(x, y, count=1)
    >>> history = model.fit(x, y, verbose=0, callbacks=[spectrum])
    >>> [round(value, 3) for value in spectrum.history[0]["eigenvalues"]]
    [10.0]
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        loss: Callable[..., Tensor] | None = None,
        every: int | str = "epoch",
        count: int = 5,
        tolerance: float = 1e-2,
        max_steps: int = 60,
        batch_size: int | None = None,
        align: bool = False,
        max_share: float | None = None,
        writer: EventWriter | None = None,
        network: keras.Model | None = None,
        regularizers: bool = False,
    ) -> None:
        super().__init__()
        if every != "epoch" and (type(every) is not int or every < 1):
            raise ValueError(f'every must be "epoch" or a number of steps; received {every!r}.')
        if max_share is not None and not max_share >= 0:
            raise ValueError(f"max_share must be at least 0, or None; received {max_share}.")
        self.x = x
        self.y = y
        self.loss = loss
        self.every = every
        self.count = count
        self.tolerance = tolerance
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.align = align
        self.max_share = max_share
        self.writer = writer
        self.network = network
        self.regularizers = regularizers
        self.history: list[Record] = []
        self.left_out: list[int] = []
        self.not_finite: list[int] = []
        self._hessian: Hessian | None = None
        # The network, loss and weights of that Hessian.
        self._measured: list[Any] = []
        self._steps = 0
        self._last_batch = -1
        self._began = 0.0
        self._paused = 0.0
        self._spent = 0.0
        self._cost = 0.0

    def on_train_begin(self, logs: Record | None = None) -> None:
        self._began, self._paused, self._spent = time.perf_counter(), 0.0, 0.0

    def on_train_end(self, logs: Record | None = None) -> None:
        measured = self.history[-1]["iteration"] if self.history else 0
        if self.left_out and self.left_out[-1] > measured:
            self.measure()

    def on_epoch_begin(self, epoch: int, logs: Record | None = None) -> None:
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: Record | None = None) -> None:
        # With `steps_per_execution` Keras calls this once for several steps.
        before, self._steps = self._steps, self._steps + batch - self._last_batch
        self._last_batch = batch
        every = self.every
        if isinstance(every, int) and self._steps // every > before // every:
            self._measure_if_affordable()

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        if self.every == "epoch":
            self._measure_if_affordable()

    def measure(self) -> Record | None:
        """Computes and logs the spectrum now.

        Returns:
            The entry added to `history`; `None` where the measurement failed, with a warning.
        """
        # During a JAX epoch, reading `self.model` brings the weights up to date.
        model = self.model
        hessian, compiles = self._hessian_of(self.network or model, self.loss or model.loss)
        started = time.perf_counter()
        try:
            record = self._record(model, hessian)
        except ValueError as error:
            if isinstance(error, NotFinite):
                self.not_finite.append(iterations(model.optimizer))
            warnings.warn(f"Hessian spectrum skipped: {error}", stacklevel=2)
            return None
        finally:
            seconds = time.perf_counter() - started
            self._paused += seconds
            if not compiles:
                self._cost = seconds
                self._spent += seconds
        record["seconds"] = seconds
        self.history.append(record)
        if self.writer is not None:
            self._write(record, self.writer)
        return record

    def _hessian_of(
        self, network: keras.Model, loss: Callable[..., Tensor]
    ) -> tuple[Hessian, bool]:
        """Returns the Hessian of network and loss, and whether it is a new one, to be compiled."""
        parts = [network, loss, *network.trainable_variables]
        same = len(parts) == len(self._measured) and all(map(operator.is_, parts, self._measured))
        if self._hessian is not None and same:
            return self._hessian, False
        self._hessian = Hessian(network, loss, regularizers=self.regularizers)
        self._measured = parts
        return self._hessian, True

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {
            "history": self.history,
            "left_out": self.left_out,
            "not_finite": self.not_finite,
            "steps": self._steps,
            "cost": self._cost,
        }

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.history = list(state["history"])
        self.left_out = list(state["left_out"])
        # States of earlier revisions lack this list.
        self.not_finite = list(state.get("not_finite", ()))
        self._steps = state["steps"]
        self._cost = state["cost"]

    def _measure_if_affordable(self) -> None:
        training = time.perf_counter() - self._began - self._paused
        affordable = self.max_share is None or self._spent + self._cost <= self.max_share * training
        # Clocks differ, and workers of one program must all measure, or none.
        if distribution.workers().of_chief(affordable):
            self.measure()
            return
        if not self.left_out:
            warnings.warn(
                "Hessian spectra are skipped where they would take more than "
                f"{self.max_share:g} of the training time; raise max_share (--hessian_share) for "
                "more of them.",
                stacklevel=3,
            )
        self.left_out.append(iterations(self.model.optimizer))

    def _record(self, model: keras.Model, hessian: Hessian) -> Record:
        spectrum = hessian.spectrum(
            self.x,
            self.y,
            self.count,
            self.tolerance,
            self.max_steps,
            vectors=self.align,
            batch_size=self.batch_size,
        )
        record = {
            "iteration": iterations(model.optimizer),
            "surrogate": hessian.surrogate,
            "eigenvalues": spectrum.eigenvalues.tolist(),
            "residuals": spectrum.residuals.tolist(),
            "spectral_radius": spectrum.radius,
            "leading_share": spectrum.leading_share,
            "printed_ratio": spectrum.printed_ratio,
        }
        if self.align:
            found = alignment.measure(
                hessian, self.x, self.y, spectrum, model.optimizer, self.batch_size
            )
            record["alignment"] = dataclasses.asdict(found)
        return record

    def _write(self, record: Record, writer: EventWriter) -> None:
        step = record["iteration"]
        for rank, value in enumerate(record["eigenvalues"], start=1):
            writer.scalar(f"hessian/lambda_{rank}", value, step)
        for name in ("spectral_radius", "leading_share", "seconds"):
            writer.scalar(f"hessian/{name}", record[name], step)
        if self.align:
            for name in ALIGNED:
                writer.scalar(f"hessian/{name}", record["alignment"][name], step)
            for path, layer in record["alignment"]["layers"].items():
                writer.scalar(f"hessian/cosine/{path}", layer["cosine"], step)
