"""Time folded into the batch: the two layouts, and layers that know of both.

Inside a network activations are `(T * batch, ...)`, time-major, so that convolution, pooling and
normalisation see one large batch. At its border they are `(batch, T, ...)`.
"""

from keras_dep.timewise.graph import Timed
from keras_dep.timewise.layers import Folded
from keras_dep.timewise.layers import Frames
from keras_dep.timewise.layers import Steps
from keras_dep.timewise.layers import TimeSharedDropout
from keras_dep.timewise.layers import Timewise
from keras_dep.timewise.layout import check_timesteps
from keras_dep.timewise.layout import fold
from keras_dep.timewise.layout import unfold

__all__ = [
    "check_timesteps",
    "fold",
    "Folded",
    "Frames",
    "Steps",
    "Timed",
    "TimeSharedDropout",
    "Timewise",
    "unfold",
]
