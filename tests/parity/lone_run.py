"""A small run in a process that finds only some frameworks installed.

Arguments: a folder for the run, then the frameworks that are to be missing.
"""

import importlib.machinery
import sys


class Partial(importlib.machinery.PathFinder):
    """The finder of installed packages, blind to some."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in sys.argv[2:]
        return None if hidden else super().find_spec(name, path, target)


def main(folder):
    import keras

    from keras_dep import experiments
    from keras_dep.experiments.settings import Settings

    settings = Settings(
        model="vgg5",
        timesteps=1,
        epochs=1,
        train_examples=8,
        test_examples=4,
        batch_size=4,
        poison_epoch=0,
        watch_examples=4,
        attack_examples=4,
        eval_steps=1,
        hessian_examples=0,
        # What TensorFlow compiles without XLA is ready sooner; JAX knows no other compiler.
        jit="off" if keras.backend.backend() == "tensorflow" else "auto",
    )
    print(experiments.run(settings, "dep", folder, verbose=0)["steps"])


if __name__ == "__main__":
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Partial
    main(sys.argv[1])
