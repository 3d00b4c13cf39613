"""Exchange with other libraries: NIR, torch networks, and the image layout of attack libraries."""

from keras_dep.interop.channels_first import channels_first
from keras_dep.interop.nir import from_nir
from keras_dep.interop.nir import to_nir
from keras_dep.interop.torch_networks import from_torch

__all__ = ["channels_first", "from_nir", "from_torch", "to_nir"]
