"""Numbers that carry first and second derivatives through a transcription, in NumPy's float64."""

import numpy as np


class Dual:
    """`value + a e + b f + c e f` with `e^2 = f^2 = 0`: derivatives of first and second order."""

    def __init__(self, value, a=0.0, b=0.0, c=0.0):
        parts = np.array(np.broadcast_arrays(value, a, b, c), "float64")
        self.parts = parts.reshape(4, -1)

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(*(self.parts + other.parts))

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        (x, a, b, c), (y, p, q, r) = self.parts, other.parts
        return Dual(x * y, a * y + x * p, b * y + x * q, c * y + a * q + b * p + x * r)

    def __sub__(self, other):
        return self + other * -1.0

    __radd__, __rmul__ = __add__, __mul__

    @property
    def value(self):
        return self.parts[0]

    def through(self, value, first, second):
        """A function of this number, given its value and two derivatives."""
        _, a, b, c = self.parts
        return Dual(value, first * a, first * b, first * c + second * a * b)


def spike(distance, width):
    """The step, with the derivatives of arctan of a width."""
    z = np.pi / 2 * distance.value / width
    first = 0.5 / (1 + z**2) / width
    second = -z / (1 + z**2) ** 2 * np.pi / 2 / width**2
    return distance.through((distance.value >= 0).astype(float), first, second)


def exponential(x):
    value = np.exp(x.value)
    return x.through(value, value, value)


def logarithm(x):
    return x.through(np.log(x.value), 1 / x.value, -1 / x.value**2)


def sigmoid(x):
    s = 1 / (1 + np.exp(-x.value))
    return x.through(s, s * (1 - s), s * (1 - s) * (1 - 2 * s))


def derivatives(program, point, vector):
    """Gradient of a program at a point, and its Hessian times a vector.

    Args:
        program: function from a list of numbers to a number.
        point: array of floats.
        vector: array like it.
    """
    units = np.eye(len(point))
    numbers = [Dual(*each) for each in zip(point, units, vector)]
    _, gradient, _, product = program(numbers).parts
    return gradient, product
