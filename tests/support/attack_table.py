"""Every attack by name, and two smooth networks and images to try it on."""

import keras
import numpy as np

from keras_dep import attacks

SIDE, COUNT = 4, 6
BUILDERS = {
    "fgsm": lambda e: attacks.FGSM(epsilon=e),
    "rfgsm": lambda e: attacks.RFGSM(epsilon=e),
    "bim": lambda e: attacks.BIM(epsilon=e, steps=2),
    "pgd": lambda e: attacks.PGD(epsilon=e, steps=2, restarts=2),
    "mifgsm": lambda e: attacks.MIFGSM(epsilon=e, steps=2),
    "apgd": lambda e: attacks.APGD(epsilon=e, steps=3),
    "apgdt": lambda e: attacks.APGDT(epsilon=e, steps=2, classes=2),
    "sapgd": lambda e: attacks.SAPGD(epsilon=e, steps=3),
    "spsa": lambda e: attacks.SPSA(epsilon=e, step_size=e / 2, steps=2, directions=2),
    "square": lambda e: attacks.Square(epsilon=e, queries=4),
    "corners": lambda e: attacks.RandomSearch(epsilon=e, draws=3),
    "uniform": lambda e: attacks.RandomSearch(epsilon=e, draws=3, points="uniform"),
    "transfer": lambda e: attacks.Transfer(attacks.FGSM(epsilon=e), [SUBSTITUTE]),
}


def smooth():
    wide = keras.initializers.RandomNormal(stddev=2.0)
    body = [
        keras.Input((SIDE, SIDE, 2)),
        keras.layers.Flatten(),
        keras.layers.Dense(8, activation="tanh", kernel_initializer=wide),
        keras.layers.Dense(4, kernel_initializer=wide),
    ]
    return keras.Sequential(body)


keras.utils.set_random_seed(0)
MODEL, SUBSTITUTE = smooth(), smooth()


def images(seed=0):
    draw = np.random.default_rng(seed)
    x = draw.uniform(-0.3, 1.3, (COUNT, SIDE, SIDE, 2)).clip(0, 1).astype("float32")
    return x, draw.integers(0, 4, COUNT).astype("int32")
