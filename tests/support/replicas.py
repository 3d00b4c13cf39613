"""A small network, its batches, and the steps of DEP on them in plain NumPy."""

import keras
import numpy as np

import keras_dep

STEPS, BATCH, REPLICAS = 5, 8, 2
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-3
FILTERS, CLASSES = 4, 5


class Apart(keras_dep.DEP):
    """What DEP must not do: each replica projects its own part of the gradient."""

    def apply(self, grads, trainable_variables=None):
        self.build(trainable_variables)
        grads = self.transform(list(grads), trainable_variables)
        self.inner_optimizer.apply(grads, trainable_variables)


def draw():
    """The given: `STEPS` batches one after the other, and the weights at the start."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 2, FILTERS), (FILTERS,), (16 * FILTERS, CLASSES), (CLASSES,)]
    return {
        "x": rng.standard_normal((STEPS * BATCH, 6, 6, 2)).astype("float32"),
        "y": rng.integers(0, CLASSES, STEPS * BATCH).astype("int32"),
        **{
            f"weight_{i}": 0.2 * rng.standard_normal(s).astype("float32")
            for i, s in enumerate(shapes)
        },
    }


def weights_of(given):
    return [given[f"weight_{i}"] for i in range(4)]


def network(given):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(FILTERS, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )
    model.set_weights(weights_of(given))
    return model


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def optimizer(projection=keras_dep.DEP):
    sgd = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    return projection(keras_dep.CoupledWeightDecay(sgd, DECAY))


def save(target, weights, optimizer):
    """Writes the weights of one replica and the energies removed in the last step."""
    removed = keras.ops.convert_to_numpy(optimizer.removed_energy.value)
    np.savez(target, removed=removed, **{f"weight_{i}": w for i, w in enumerate(weights)})


def steps_in_numpy(given, parts):
    """All steps in float64, the mean of the projections of `parts` parts of each batch."""
    weights = [weight.astype("float64") for weight in weights_of(given)]
    velocities = [np.zeros_like(weight) for weight in weights]
    for x, y in zip(np.split(given["x"], STEPS), np.split(given["y"], STEPS)):
        shares = zip(np.split(x, parts), np.split(y, parts))
        projected = [[_project(g) for g in _gradient(weights, *share)] for share in shares]
        for i, found in enumerate(zip(*projected)):
            gradient = np.mean([rest for rest, _ in found], axis=0) + DECAY * weights[i]
            velocities[i] = MOMENTUM * velocities[i] - RATE * gradient
            weights[i] = weights[i] + velocities[i]
    removed = [share for (_, share), weight in zip(projected[0], weights) if weight.ndim > 1]
    return {"removed": np.array(removed), **{f"weight_{i}": w for i, w in enumerate(weights)}}


def _gradient(weights, x, y):
    kernel, bias, dense, offset = weights
    patches = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    hidden = np.tanh(np.einsum("nijcuv,uvco->nijo", patches, kernel) + bias)
    flat = hidden.reshape(len(x), -1)
    logits = flat @ dense + offset
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = (odds / odds.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]) / len(x)
    back = (error @ dense.T).reshape(hidden.shape) * (1 - hidden**2)
    return [
        np.einsum("nijcuv,nijo->uvco", patches, back),
        back.sum(axis=(0, 1, 2)),
        flat.T @ error,
        error.sum(axis=0),
    ]


def _project(gradient):
    """The gradient without its leading singular component, and the share of energy removed."""
    if gradient.ndim == 1:
        return gradient, 0.0
    left, sizes, right = np.linalg.svd(
        gradient.reshape(-1, gradient.shape[-1]), full_matrices=False
    )
    rest = (left[:, 1:] * sizes[1:]) @ right[1:]
    return rest.reshape(gradient.shape), sizes[0] ** 2 / np.sum(sizes**2)
