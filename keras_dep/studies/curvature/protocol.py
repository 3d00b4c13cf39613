"""The settings of a curvature study."""

import dataclasses

from keras_dep import surrogates
from keras_dep._internal import validation

KINDS = ("clean", "fgsm", "pgd")
METHODS = ("lanczos", "power")
TRAINING = "training"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the measurements, which use the same test images and start vectors in each run.

    Args:
        batches: batches of test images, from the first on.
        batch_size: images per batch.
        together: images of one pass; `None`: an eighth of a batch, but at least 16.
        kinds: some of `KINDS`.
        surrogates: surrogates under which curvature is taken: `"training"` for the run's own, or
            names of `keras_dep.surrogates`.
        method: `"lanczos"`, or `"power"` for PyHessian's iteration with its usual limits.
        count: eigenvalues.
        tolerance: residual for `"lanczos"`, relative to the spectral radius, from 0 (as many
            products as `max_steps` allows) to below 1.
        max_steps: limit of products of one spectrum by `"lanczos"`, at least `count`.
        density_vectors: random vectors for the spectral densities of the first clean batch; 0:
            none.
        trace_products: products for the trace on the first clean batch, 3 or more; 0: none.
        epoch_batches: clean batches measured at every epoch whose weights a run kept; 0: none.

    Raises:
        ValueError: an unknown name, or a number outside its limits.

    Example:

    >>> Protocol(batches=4, batch_size=32).kinds
    ('clean', 'fgsm', 'pgd')
    """

    batches: int = 20
    batch_size: int = 128
    together: int | None = None
    kinds: tuple[str, ...] = KINDS
    surrogates: tuple[str, ...] = (TRAINING, "arctan")
    method: str = "lanczos"
    count: int = 5
    tolerance: float = 1e-2
    max_steps: int = 80
    density_vectors: int = 1
    trace_products: int = 15
    epoch_batches: int = 1

    def __post_init__(self) -> None:
        for name in ("batches", "batch_size", "count", "max_steps"):
            validation.whole_number(name, getattr(self, name))
        for name in ("density_vectors", "trace_products", "epoch_batches"):
            validation.whole_number(name, getattr(self, name), least=0)
        if self.together is not None:
            validation.whole_number("together", self.together)
        if self.epoch_batches > self.batches:
            raise ValueError(
                f"epoch_batches must be from 0 to batches={self.batches}; received "
                f"{self.epoch_batches}."
            )
        if self.trace_products in (1, 2):
            raise ValueError(
                f"trace_products must be 3 or more, or 0 for no trace; received "
                f"{self.trace_products}."
            )
        if not 0 <= self.tolerance < 1:
            raise ValueError(
                "tolerance must lie in [0, 1), a share of the spectral radius; received "
                f"{self.tolerance}; 0.01 is usual."
            )
        validation.one_of("method", self.method, METHODS)
        if self.method == "lanczos" and self.max_steps < self.count:
            raise ValueError(
                f"max_steps must be at least count={self.count}, a product for each eigenvalue; "
                f"received {self.max_steps}."
            )
        for name, known in (("kinds", KINDS), ("surrogates", (TRAINING, *surrogates.names()))):
            given = getattr(self, name)
            if not given or set(given) - set(known):
                raise ValueError(
                    f"{name} must be among {', '.join(known)}; received {', '.join(given)!r}."
                )
            if len(set(given)) < len(given):
                raise ValueError(
                    f"{name} must differ from one another; received {', '.join(given)!r}."
                )
