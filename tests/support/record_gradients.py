"""Records the kernel gradients of a short training of a spiking VGG-11 into an .npz file."""

import sys

import keras
import numpy as np

import keras_dep
from keras_dep import optimizers

STEPS, RECORDED, BATCH = 5, (1, 3, 5), 8


class Recorder(optimizers.GradientTransform):
    """Passes gradients on as they are and keeps those of chosen steps."""

    def __init__(self, inner_optimizer):
        super().__init__(inner_optimizer)
        self.step, self.recorded = 0, {}

    def transform(self, gradients, variables):
        self.step += 1
        if self.step in RECORDED:
            for variable, gradient in zip(variables, gradients):
                if len(variable.shape) > 1:
                    name = f"{self.step}/{variable.path}".replace("/", ".")
                    self.recorded[name] = keras.ops.convert_to_numpy(gradient)
        return gradients


def main(path):
    keras.utils.set_random_seed(0)
    digits = keras_dep.data.sources.load("digits", train_examples=STEPS * BATCH)
    # The digits four times larger, in three channels: every kernel has its CIFAR-10 shape.
    images = np.repeat(digits.x_train.repeat(4, axis=1).repeat(4, axis=2), 3, axis=3) / 255
    model = keras_dep.models.build("vgg11", input_shape=(32, 32, 3), num_classes=10, mean=0.3)
    recorder = Recorder(keras.optimizers.SGD(0.1, momentum=0.9))
    model.compile(recorder, keras_dep.MeanLogitCrossentropy())
    model.fit(images, digits.y_train, batch_size=BATCH, shuffle=False, verbose=0)
    np.savez(path, **recorder.recorded)


if __name__ == "__main__":
    main(*sys.argv[1:])
