"""Spectral density of an operator by stochastic Lanczos quadrature, and its plot."""

import dataclasses
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.curvature.krylov import Krylov
from keras_dep.curvature.lanczos import check_size
from keras_dep.curvature.precision import keeps_dtype


@dataclasses.dataclass(frozen=True)
class Density:
    """A density of eigenvalues as weighted points, one set per random vector.

    Attributes:
        nodes: the points, one sequence per random vector.
        weights: their weights; those of each sequence sum to 1.
        dimension: size of the operator.
    """

    nodes: Sequence[Sequence[float] | Array]
    weights: Sequence[Sequence[float] | Array]
    dimension: int

    def moment(self, power: int) -> float:
        """Mean of `eigenvalue ** power`; power 1 gives the trace over the dimension."""
        return float(
            np.mean([np.dot(w, np.power(n, power)) for n, w in zip(self.nodes, self.weights)])
        )

    def at(self, points: ArrayLike, width: float) -> Array:
        """Density at points `(n,)`, each node replaced by a Gaussian of that standard deviation."""
        points = np.asarray(points)
        total = np.zeros(len(points))
        for nodes, weights in zip(self.nodes, self.weights):
            distance = (points[:, None] - np.asarray(nodes)) / width
            bells = np.exp(-0.5 * distance**2) / (width * (2 * np.pi) ** 0.5)
            total += bells @ weights
        return total / len(self.nodes)

    def limits(self) -> tuple[float, float]:
        """The smallest and the largest node."""
        nodes = np.concatenate([np.asarray(nodes) for nodes in self.nodes])
        return float(nodes.min()), float(nodes.max())


@keeps_dtype
def spectral_density(
    product: Callable[[Tensor], Tensor],
    dimension: int,
    vectors: int = 4,
    steps: int = 40,
    seed: int = 0,
    dtype: str = "float32",
) -> Density:
    """Estimates the spectral density from a few random vectors.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        vectors: random start vectors, at least 1; each costs `steps` products.
        steps: points for each vector; the quadrature is exact for the first `2 * steps - 1` moments
            of that vector.
        seed: seed of the start vectors.
        dtype: dtype of the vectors.

    Returns:
        A `Density`.

    Raises:
        ValueError: an argument outside its limits, or a product with non-finite entries.

    Source: Ghorbani et al. 2019; Golub and Welsch 1969.

    Example:

    >>> from keras import ops
    >>> density = spectral_density(lambda v: 2.0 * v, dimension=5, vectors=1)
    >>> round(density.moment(1), 4)
    2.0
    """
    check_size(dimension, vectors)
    nodes, weights = [], []
    for index in range(vectors):
        krylov = Krylov(product, dimension, [seed, index], dtype)
        for _ in range(min(max(steps, 1), dimension)):
            krylov.advance()
        values, _, coordinates = krylov.ritz()
        nodes.append(values)
        weights.append(coordinates[0] ** 2)
    return Density(nodes, weights, dimension)


def plot(
    densities: Mapping[str, Density], path: str | os.PathLike, width: float | None = None
) -> None:
    """Plots densities in one figure with a logarithmic scale.

    Args:
        densities: densities by label.
        path: image file; its extension sets the format.
        width: standard deviation of the Gaussians; by default a hundredth of the range.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    low = min(density.limits()[0] for density in densities.values())
    high = max(density.limits()[1] for density in densities.values())
    width = width or max((high - low) / 100, 1e-9)
    points = np.linspace(low - 5 * width, high + 5 * width, 1000)
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, density in densities.items():
        axes.semilogy(points, np.maximum(density.at(points, width), 1e-12), label=label)
    axes.set(xlabel="eigenvalue", ylabel="density", ylim=(1e-10, None))
    axes.legend()
    figure.savefig(path)
