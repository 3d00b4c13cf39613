"""Weights that are the same on every backend, and derivatives by differences in float64."""

import numpy as np


def central(function, parameters, step=1e-5):
    """Gradients of a scalar function of a list of float64 arrays."""
    gradients = []
    for number, parameter in enumerate(parameters):
        gradient = np.zeros_like(parameter)
        for place in np.ndindex(*parameter.shape):
            values = []
            for sign in (1, -1):
                moved = [each.copy() for each in parameters]
                moved[number][place] += sign * step
                values.append(function(moved))
            gradient[place] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def complex_step(function, point):
    """The gradient of a real analytic scalar function of an array, without cancellation."""
    gradient = np.zeros(point.shape)
    for place in np.ndindex(*point.shape):
        moved = point.astype(complex)
        moved[place] += 1e-30j
        gradient[place] = function(moved).imag / 1e-30
    return gradient


def injected(network, seed, deviation=0.8):
    """The network with trainable weights drawn by NumPy."""
    draw = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(draw.normal(scale=deviation, size=variable.shape))
    return network
