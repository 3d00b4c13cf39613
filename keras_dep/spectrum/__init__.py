"""Spectra of symmetric operators known only through their products with vectors."""

from keras_dep.spectrum.density import Density
from keras_dep.spectrum.density import spectral_density
from keras_dep.spectrum.extremes import Spectrum
from keras_dep.spectrum.extremes import lanczos
from keras_dep.spectrum.power import power_iteration
from keras_dep.spectrum.trace import Trace
from keras_dep.spectrum.trace import hutch_plus_plus

__all__ = [
    "Density",
    "hutch_plus_plus",
    "lanczos",
    "power_iteration",
    "spectral_density",
    "Spectrum",
    "Trace",
]
