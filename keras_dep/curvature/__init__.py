"""Curvature of a model's loss: Hessian and Gauss-Newton operators, and their spectra."""

from keras_dep.curvature.density import Density
from keras_dep.curvature.density import spectral_density
from keras_dep.curvature.lanczos import Spectrum
from keras_dep.curvature.lanczos import lanczos
from keras_dep.curvature.operators import GaussNewton
from keras_dep.curvature.operators import Hessian
from keras_dep.curvature.power_iteration import power_iteration
from keras_dep.curvature.precision import double_precision
from keras_dep.curvature.precision import with_dtype
from keras_dep.curvature.trace import Trace
from keras_dep.curvature.trace import hutch_plus_plus

__all__ = [
    "Density",
    "double_precision",
    "GaussNewton",
    "Hessian",
    "hutch_plus_plus",
    "lanczos",
    "power_iteration",
    "spectral_density",
    "Spectrum",
    "Trace",
    "with_dtype",
]
