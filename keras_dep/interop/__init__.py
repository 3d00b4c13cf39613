"""Exchange with other libraries: networks in NIR, and the image layout of attack libraries."""

from keras_dep.interop.channels_first import channels_first
from keras_dep.interop.nir import from_nir
from keras_dep.interop.nir import to_nir

__all__ = ["channels_first", "from_nir", "to_nir"]
