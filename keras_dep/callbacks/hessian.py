"""The callback that follows the Hessian's spectrum during training."""

import dataclasses
import operator
import time
import warnings

import keras

from keras_dep.curvature import alignment
from keras_dep.curvature.flat_vectors import NotFinite
from keras_dep.curvature.operators import Hessian

# What of an alignment is a number for all weights together.
ALIGNED = tuple(f.name for f in dataclasses.fields(alignment.Alignment) if f.name != "layers")


class HessianSpectrum(keras.callbacks.Callback):
    """Logs the Hessian's leading eigenvalues on a fixed batch.

    Writes `hessian/lambda_1` to `hessian/lambda_k` (largest magnitude first, signed),
    `hessian/spectral_radius`, `hessian/leading_share` (`|lambda_1|` over the sum of the magnitudes)
    and `hessian/seconds`, its own cost. Training is not disturbed. A batch on which the loss is not
    finite is reported and skipped. It follows the model in `fit`: another one, another loss or
    other trainable weights than at the last measurement are compiled anew.

    With `align`, also the fields of `keras_dep.curvature.alignment.Alignment`, as
    `hessian/<field>`, and `hessian/cosine/<path>` of each weight that `DEP` projects, or would.

    Args:
        x: inputs of the batch.
        y: labels of the batch.
        loss: the loss; default that of `model.compile`, which must then be a loss object.
        every: `"epoch"`, or a number of training steps, counted on from epoch to epoch.
        count: number of eigenvalues, at least 1.
        tolerance: residual, relative to the spectral radius, at which they count as found.
        max_steps: limit of Hessian-vector products a time.
        batch_size: largest number of examples looked at together, as for `keras_dep.Hessian.at`.
        align: whether to compare the gradient with the eigenvectors too.
        max_share: largest share of the training time to spend here, by the clock; `None`: no limit.
            A measurement that would exceed it, going by the last one, is left out; the first such
            is reported, and the last one due is made up for when training ends. The first one of
            all, which compiles, does not count.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        network: the model to measure where it is not the one in `fit`.
        regularizers: whether penalties are part of the loss, as for `keras_dep.Hessian`.

    Attributes:
        history: list of dictionaries `iteration`, `surrogate`, `eigenvalues`, `residuals`,
            `spectral_radius`, `leading_share`, `printed_ratio`, `seconds`, and `alignment` on
            request.
        left_out: iterations at which a measurement was too expensive.
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
        x,
        y,
        loss=None,
        every="epoch",
        count=5,
        tolerance=1e-2,
        max_steps=60,
        batch_size=None,
        align=False,
        max_share=None,
        writer=None,
        network=None,
        regularizers=False,
    ):
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
        self.history = []
        self.left_out = []
        self.not_finite = []
        self._hessian = None
        # The network, loss and weights of that Hessian.
        self._measured = []
        self._steps = 0
        self._last_batch = -1
        self._began = None
        self._paused = 0.0
        self._spent = 0.0
        self._cost = 0.0

    def on_train_begin(self, logs=None):
        self._began, self._paused, self._spent = time.perf_counter(), 0.0, 0.0

    def on_train_end(self, logs=None):
        measured = self.history[-1]["iteration"] if self.history else 0
        if self.left_out and self.left_out[-1] > measured:
            self.measure()

    def on_epoch_begin(self, epoch, logs=None):
        self._last_batch = -1

    def on_train_batch_end(self, batch, logs=None):
        # One execution may hold several steps.
        before, self._steps = self._steps, self._steps + batch - self._last_batch
        self._last_batch = batch
        if self.every != "epoch" and self._steps // self.every > before // self.every:
            self._measure_if_affordable()

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self._measure_if_affordable()

    def measure(self):
        """Computes and logs the spectrum now; returns its record, or `None` if it was skipped."""
        # Reading it brings weights back that a JAX epoch keeps to itself.
        model = self.model
        compiles = self._follow(self.network or model, self.loss or model.loss)
        started = time.perf_counter()
        try:
            record = self._record(model)
        except ValueError as error:
            if isinstance(error, NotFinite):
                self.not_finite.append(int(model.optimizer.iterations))
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
            self._write(record)
        return record

    def _follow(self, network, loss):
        """Takes another Hessian where the one at hand is not that of these; whether it did."""
        what = [network, loss, *network.trainable_variables]
        if len(what) == len(self._measured) and all(map(operator.is_, what, self._measured)):
            return False
        self._hessian = Hessian(network, loss, regularizers=self.regularizers)
        self._measured = what
        return True

    def get_state(self):
        return {
            "history": self.history,
            "left_out": self.left_out,
            "not_finite": self.not_finite,
            "steps": self._steps,
            "cost": self._cost,
        }

    def set_state(self, state):
        self.history = list(state["history"])
        self.left_out = list(state["left_out"])
        # Earlier revisions kept no such list.
        self.not_finite = list(state.get("not_finite", ()))
        self._steps = state["steps"]
        self._cost = state["cost"]

    def _measure_if_affordable(self):
        training = time.perf_counter() - self._began - self._paused
        if self.max_share is None or self._spent + self._cost <= self.max_share * training:
            self.measure()
            return
        if not self.left_out:
            warnings.warn(
                f"Hessian spectrum left out where it would take more than {self.max_share:g} of "
                f"the training time: {self._cost:.3g} s each; see left_out.",
                stacklevel=3,
            )
        self.left_out.append(int(self.model.optimizer.iterations))

    def _record(self, model):
        spectrum = self._hessian.spectrum(
            self.x,
            self.y,
            self.count,
            self.tolerance,
            self.max_steps,
            vectors=self.align,
            batch_size=self.batch_size,
        )
        record = {
            "iteration": int(model.optimizer.iterations),
            "surrogate": self._hessian.surrogate,
            "eigenvalues": spectrum.eigenvalues.tolist(),
            "residuals": spectrum.residuals.tolist(),
            "spectral_radius": spectrum.radius,
            "leading_share": spectrum.leading_share,
            "printed_ratio": spectrum.printed_ratio,
        }
        if self.align:
            found = alignment.measure(
                self._hessian, self.x, self.y, spectrum, model.optimizer, self.batch_size
            )
            record["alignment"] = dataclasses.asdict(found)
        return record

    def _write(self, record):
        step = record["iteration"]
        for rank, value in enumerate(record["eigenvalues"], start=1):
            self.writer.scalar(f"hessian/lambda_{rank}", value, step)
        for name in ("spectral_radius", "leading_share", "seconds"):
            self.writer.scalar(f"hessian/{name}", record[name], step)
        if self.align:
            for name in ALIGNED:
                self.writer.scalar(f"hessian/{name}", record["alignment"][name], step)
            for path, layer in record["alignment"]["layers"].items():
                self.writer.scalar(f"hessian/cosine/{path}", layer["cosine"], step)
