"""What is kept of each epoch against the weights of the moment, in one go and after a restart."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep.attacks import FGSM
from keras_dep.callbacks import EpochWeights
from keras_dep.callbacks.epochs import kept
from keras_dep.training import PerturbedTraining


def network():
    keras.utils.set_random_seed(0)
    body = [keras.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)]
    return keras.Sequential(body)


class Moments(keras.callbacks.Callback):
    """The weights of a network at the same moments."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def on_train_begin(self, logs=None):
        self.seen.append(self.network.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        assert self.model is not None  # brings the weights of a JAX epoch back
        self.seen.append(self.network.get_weights())


def fit(model, callbacks, **options):
    draw = np.random.default_rng(0)
    x, y = draw.random((8, 3)).astype("float32"), draw.integers(0, 2, 8).astype("int32")
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "inside another"])
def test_every_epoch_of_a_run_and_of_its_continuation(tmp_path, inside):
    trained = network()
    model = PerturbedTraining(trained, FGSM(epsilon=0.1)) if inside else trained
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    folder = tmp_path / "run/epochs"
    assert kept(folder) == {}
    first, second = Moments(trained), Moments(trained)
    fit(model, [first, EpochWeights(folder, trained)], epochs=2)
    fit(model, [second, EpochWeights(folder, trained)], epochs=3, initial_epoch=2)
    moments = [*first.seen, *second.seen[1:]]
    files = kept(folder)
    assert list(files) == [0, 1, 2, 3]
    other = network()
    for path, moment in zip(files.values(), moments, strict=True):
        other.load_weights(path)
        for one, expected in zip(other.get_weights(), moment, strict=True):
            np.testing.assert_array_equal(one, expected)
    assert any((one != last).any() for one, last in zip(moments[0], moments[-1]))


def test_files_are_in_the_order_of_their_epochs_and_others_are_left(tmp_path):
    for name in ("10.weights.h5", "9.weights.h5", "part.11.weights.h5", "notes.txt"):
        (tmp_path / name).write_text("")
    assert list(kept(tmp_path)) == [9, 10]
