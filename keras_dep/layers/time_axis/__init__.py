"""Time folded into the batch: the two layouts, and layers between them.

Inside a network activations are `(T * batch, ...)`, time-major, so that convolution, pooling and
normalisation see one large batch. Inputs and outputs of a network are `(batch, T, ...)`.
"""

from keras_dep.layers.time_axis.carry import Carry
from keras_dep.layers.time_axis.graph import Timed
from keras_dep.layers.time_axis.layers import Folded
from keras_dep.layers.time_axis.layers import FoldTime
from keras_dep.layers.time_axis.layers import TimeSharedDropout
from keras_dep.layers.time_axis.layers import Timewise
from keras_dep.layers.time_axis.layers import UnfoldTime
from keras_dep.layers.time_axis.layout import check_timesteps
from keras_dep.layers.time_axis.layout import fold
from keras_dep.layers.time_axis.layout import unfold

__all__ = [
    "Carry",
    "check_timesteps",
    "fold",
    "Folded",
    "FoldTime",
    "UnfoldTime",
    "Timed",
    "TimeSharedDropout",
    "Timewise",
    "unfold",
]
