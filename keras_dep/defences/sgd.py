"""Plain training, which every method is compared with."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register


@register
def sgd() -> Defence:
    """Adds nothing: SGD with momentum and weight decay.

    Example:

    >>> sgd().wrapped("adam", plan=None)
    'adam'
    """
    return Defence()
