"""What DEP adds to a training step, beside plain SGD and a full decomposition of every gradient.

Each case takes training steps in turn, plain SGD, DEP(SGD), and SGD behind a full singular value
decomposition per tensor as in the paper's released code, on the same data, and compares medians.

  python benchmarks/dep_overhead.py --backend=torch --json=dep_overhead.json
  python benchmarks/dep_overhead.py --backend=jax --cases=vgg11,mlp --quick
"""

import argparse
import json
import os
import statistics
import time


def main():
    options = _options()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = []
    print(f"{'case':<8}{'step':>8}{'median s':>12}{'least':>10}{'most':>10}{'over SGD':>12}")
    for name in options.cases:
        times = _measure(name, options)
        plain = statistics.median(times["SGD"])
        for step, seconds in times.items():
            middle = statistics.median(seconds)
            ratio = statistics.median(a / b for a, b in zip(seconds, times["SGD"]))
            print(
                f"{name:<8}{step:>8}{middle:>12.4f}{min(seconds):>10.4f}{max(seconds):>10.4f}"
                f"{100 * (ratio - 1):>+11.1f}%",
                flush=True,
            )
            if step != "SGD":
                rows.append(_row(name, options.backend, step, middle, plain, ratio))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = os.environ.get("KERAS_BACKEND", "torch")
    parser.add_argument("--backend", default=chosen, choices=("torch", "tensorflow", "jax"))
    parser.add_argument("--cases", default=",".join(CASES), help="a list with commas between")
    parser.add_argument("--batch", type=int, help="images per step; default 128, quick 16")
    parser.add_argument("--rounds", type=int, default=5, help="counted steps of each kind")
    parser.add_argument("--jit", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--quick", action="store_true", help="small batches, no full SVD")
    parser.add_argument("--json", help="file for the rows")
    options = parser.parse_args()
    options.cases = options.cases.split(",")
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"cases must be among {', '.join(CASES)}; received {', '.join(unknown)}.")
    options.batch = options.batch or (16 if options.quick else 128)
    return options


def _row(case, backend, step, ours, peer, ratio):
    return {
        "case": f"{case}, {step}",
        "backend": backend,
        "metric": "seconds per step",
        "ours": ours,
        "peer": peer,
        "peer_name": "SGD",
        "ratio": ratio,
    }


def _measure(name, options):
    """Seconds of each counted step by kind, the kinds in turn."""
    import keras
    import numpy as np

    import keras_dep

    keras.utils.set_random_seed(0)
    build, shape, loss = CASES[name]
    optimizers = {"SGD": _sgd(), "DEP": keras_dep.DEP(_sgd())}
    if not options.quick:
        optimizers["SVD"] = _full_svd(_sgd())
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (options.batch, *shape)).astype("float32")
    y = draw.integers(0, 10, options.batch).astype("int32")
    models = {}
    for step, optimizer in optimizers.items():
        models[step] = build()
        jit = {"auto": "auto", "on": True, "off": False}[options.jit]
        models[step].compile(optimizer, loss(), jit_compile=jit)
    times = {step: [] for step in models}
    for number in range(options.rounds + 2):
        for step, model in models.items():
            started = time.perf_counter()
            float(model.train_on_batch(x, y))
            if number >= 2:
                times[step].append(time.perf_counter() - started)
    return times


def _sgd():
    import keras

    return keras.optimizers.SGD(0.01, momentum=0.9)


def _full_svd(inner):
    from keras import ops

    from keras_dep import deflation
    from keras_dep.optimizers import GradientTransform

    class FullSVD(GradientTransform):
        """The released code's way."""

        def transform(self, gradients, variables):
            return [self._project(gradient) for gradient in gradients]

        def _project(self, gradient):
            if len(gradient.shape) < 2:
                return gradient
            matrix = deflation.matricise(gradient)
            u, s, vt = ops.svd(matrix, full_matrices=False)
            return ops.reshape(matrix - s[0] * u[:, :1] * vt[:1], gradient.shape)

    return FullSVD(inner)


def _vgg11():
    import keras_dep

    return keras_dep.models.build("vgg11", input_shape=(32, 32, 3), num_classes=10)


def _resnet18():
    """He et al. 2016 for 32x32 images: a 3x3 stem, four stages of two basic blocks."""
    import keras
    from keras import layers

    def block(x, width, stride):
        shortcut = x
        x = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        if stride > 1:
            shortcut = layers.Conv2D(width, 1, stride, use_bias=False)(shortcut)
            shortcut = layers.BatchNormalization()(shortcut)
        return layers.Activation("relu")(x + shortcut)

    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = block(block(x, width, stride), width, 1)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def _vit12():
    """Twelve pre-normalised blocks of width 384 on 64 patches of 4x4 pixels."""
    import keras
    from keras import layers

    width, heads = 384, 6
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, width))(layers.Conv2D(width, 4, 4)(x))
    for _ in range(12):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(heads, width // heads)(y, y)
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(width)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def _mlp():
    import keras
    from keras import layers

    body = [layers.Dense(4096, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((1024,)), *body, layers.Dense(10)])


def _entropy():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _mean_logit_entropy():
    import keras_dep

    return keras_dep.MeanLogitCrossentropy()


CASES = {
    "vgg11": (_vgg11, (32, 32, 3), _mean_logit_entropy),
    "resnet18": (_resnet18, (32, 32, 3), _entropy),
    "vit12": (_vit12, (32, 32, 3), _entropy),
    "mlp": (_mlp, (1024,), _entropy),
}

if __name__ == "__main__":
    main()
