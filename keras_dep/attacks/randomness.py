"""Models that draw at random."""

import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep.attacks.gradient_attack import random_states_kept


def is_random(model, images):
    """Whether a model answers differently when asked again."""
    compilation.heed_changes(model)
    with random_states_kept(model):
        answers = [ops.convert_to_numpy(model.predict_on_batch(images)) for _ in range(2)]
    return not np.array_equal(*answers, equal_nan=True)
