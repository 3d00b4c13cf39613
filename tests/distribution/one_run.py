"""One run on an engine, from its settings to its result; a worker may die on the way."""

import json
import os
import pathlib
import signal
import sys

import keras

import keras_dep
from keras_dep import attacks
from keras_dep import curvature
from keras_dep import distribution
from keras_dep import evaluation
from keras_dep import experiments
from keras_dep.data import pixels
from keras_dep.experiments import build
from keras_dep.experiments import results
from keras_dep.models import vgg

# A narrow network in place of the one of this name.
NARROW = {"vgg5": (8, "M", 8, "M")}
# Ten batches an epoch, one more that the attack perturbs, and sizes that no two workers share
# equally in the evaluation. At a larger rate rounding turns a spike before the last step.
SETTINGS = experiments.Settings(
    train_examples=160,
    test_examples=31,
    batch_size=16,
    timesteps=2,
    epochs=2,
    learning_rate=0.02,
    attack="pgd",
    attack_steps=2,
    attack_examples=20,
    eval_steps=2,
    watch_examples=15,
    hessian_examples=0,
)
MEASURED = "measured.json"
# Of several processes on JAX.
ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


class Counted(attacks.Transfer):
    """Counts the batches that this process attacks."""

    batches = 0

    def _craft(self, *arguments):
        self.batches += 1
        return super()._craft(*arguments)


def measurements(folder, result):
    """Of the trained network: eigenvalues, the norm of a gradient, images that withstand.

    And the number of batches that this process attacked.
    """
    network = results.trained_network(str(folder), result)
    data = build.load_data(SETTINGS)
    images, labels = pixels.scaled(data.x_test[:7]), data.y_test[:7]
    hessian = keras_dep.Hessian(network, keras_dep.losses.MeanLogitCrossentropy())
    gradient = hessian.gradient(images, labels)
    found = [
        spectrum(hessian.at(images, labels), hessian.dimension, max_steps=12).eigenvalues.tolist()
        for spectrum in (curvature.lanczos, curvature.power_iteration)
    ]
    attack = Counted(attacks.FGSM(epsilon=0.1), [network])
    withstood = evaluation.robust_accuracy(
        network, attack, pixels.scaled(data.x_test), data.y_test, batch_size=4
    )
    return [*found, float(keras.ops.norm(gradient)), withstood["correct"]], attack.batches


class Death(keras.callbacks.Callback):
    """Kills its process in the middle of the second epoch, once."""

    def __init__(self, mark):
        super().__init__()
        self.mark = pathlib.Path(mark)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1 and batch == 5 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main(engine, folder, mark=None):
    vgg.STAGES.update(NARROW)
    one_process = engine == "mirrored" or (
        engine == "data_parallel" and ADDRESSES not in os.environ
    )
    workers = distribution.start(engine, devices=2 if one_process else None)
    if mark and workers.rank == workers.count - 1:
        # The run takes its callbacks from its method.
        assemble = build.assemble

        def with_death(*arguments):
            parts = assemble(*arguments)
            parts.callbacks.append(Death(mark))
            return parts

        build.assemble = with_death
    result = experiments.run(SETTINGS, "dep", folder, resume=True, verbose=0)
    if not mark:
        found = measurements(folder, result)
        if workers.chief:
            pathlib.Path(folder, MEASURED).write_text(json.dumps(found))
    workers.leave()
    # No teardown: gloo's has been seen to wait for ever for a process that had left.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
