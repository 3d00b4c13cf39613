"""Overhead of DEP in a training step, compared with plain SGD and a full SVD of every gradient.

Each case runs training steps in turn on the same data: plain SGD, DEP(SGD), and SGD with a full
singular value decomposition per tensor, as in the paper's released code. The steps of a large
network vary by more than the time of DEP, so the projection of the network's own gradients is also
timed alone; its share of the plain step is the reliable number. All numbers are medians. --memory
adds the peak memory of a process that runs only such steps, above its start.

  python benchmarks/dep_overhead.py --backend=torch --json=dep_overhead.json
  python benchmarks/dep_overhead.py --backend=jax --cases=vgg11,mlp --quick
"""

import multiprocessing
import statistics
import time

import harness


def main():
    options = _options()
    rows = []
    print(
        f"{'case':<10}{'seconds of':<16}{'median':>10}{'least':>10}{'most':>10}{'of SGD step':>14}"
    )
    for name in options.cases:
        times = _measure(name, options)
        plain = statistics.median(times["SGD step"])
        for kind, seconds in times.items():
            middle = statistics.median(seconds)
            if kind.endswith("step"):
                ratio = statistics.median(a / b for a, b in zip(seconds, times["SGD step"]))
            else:
                ratio = middle / plain
            print(
                f"{name:<10}{kind:<16}{middle:>10.4f}{min(seconds):>10.4f}{max(seconds):>10.4f}"
                f"{100 * ratio:>13.1f}%",
                flush=True,
            )
            if kind != "SGD step":
                rows.append(_row(options, f"{name}, {kind}", "seconds", middle, plain, ratio))
        if options.memory:
            rows.append(_memory_row(name, options))
    harness.save(rows, options)


def _options():
    parser = harness.parser(__doc__, "small batches, no full SVD", "counted steps of each kind")
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated")
    parser.add_argument("--batch", type=int, help="images per step; default 128, quick 16")
    parser.add_argument(
        "--run", default="auto", choices=harness.RUNS, help="mode of Keras' compile"
    )
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    options = harness.parsed(parser)
    harness.listed(parser, options, "cases", CASES)
    options.batch = options.batch or (16 if options.quick else 128)
    return options


def _row(options, case, metric, ours, plain, ratio):
    return harness.row(options.backend, case, metric, ours, plain, "SGD step", ratio)


def _measure(name, options):
    """Returns seconds by kind: of the steps, measured in turn, and of the projections alone."""
    import keras_dep

    optimizers = {"SGD step": _sgd(), "DEP step": keras_dep.DEP(_sgd())}
    if not options.quick:
        optimizers["SVD step"] = _transform()(_full_svd, _sgd())
    compiled, x, y = _problem(name, options)
    models = {kind: compiled(optimizer) for kind, optimizer in optimizers.items()}
    times = {kind: [] for kind in models}
    for number in range(options.rounds + 2):
        for kind, model in models.items():
            started = time.perf_counter()
            float(model.train_on_batch(x, y))
            if number >= 2:
                times[kind].append(time.perf_counter() - started)
    recorder = _transform()(lambda gradients: gradients, _sgd(), records=True)
    model = compiled(recorder)
    for _ in range(3):
        model.train_on_batch(x, y)
    projected = keras_dep.DEP(_sgd())
    projected.build(model.trainable_variables)
    gradients = [
        record.value
        for record, variable in zip(recorder.records, model.trainable_variables)
        if variable.path in projected.projected_paths
    ]
    times["projections"] = _time(_project, gradients, 2 * options.rounds)
    if not options.quick:
        times["full SVDs"] = _time(_full_svd, gradients, options.rounds)
    return times


def _problem(name, options):
    """Returns a function from an optimizer to a compiled model, and a batch for it."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    build, shape, loss = CASES[name]
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (options.batch, *shape)).astype("float32")
    y = draw.integers(0, 10, options.batch).astype("int32")

    def compiled(optimizer):
        model = build()
        model.compile(optimizer, loss(), **harness.RUNS[options.run])
        return model

    return compiled, x, y


def _memory_row(name, options):
    """Measures the peak memory of steps with DEP and of plain ones, each in its own process."""
    fresh = multiprocessing.get_context("spawn")
    peaks = {}
    for kind in ("SGD", "DEP"):
        with fresh.Pool(1) as pool:
            peaks[kind] = pool.apply(_peak_megabytes, (name, options, kind))
        print(f"{name:<10}{f'{kind} peak MB':<16}{peaks[kind]:>10.0f}", flush=True)
    ratio = peaks["DEP"] / peaks["SGD"]
    return _row(options, f"{name}, peak", "megabytes", peaks["DEP"], peaks["SGD"], ratio)


def _peak_megabytes(name, options, kind):
    import keras_dep

    compiled, x, y = _problem(name, options)
    model = compiled(keras_dep.DEP(_sgd()) if kind == "DEP" else _sgd())
    with harness.peak_memory(options.backend) as peak:
        for _ in range(3):
            float(model.train_on_batch(x, y))
    return peak[0]


def _time(function, gradients, rounds):
    """Returns the seconds of each call, including the wait for its results."""
    from keras import ops

    seconds = []
    for number in range(rounds + 2):
        started = time.perf_counter()
        for result in function(gradients):
            ops.convert_to_numpy(result)
        if number >= 2:
            seconds.append(time.perf_counter() - started)
    return seconds


def _project(gradients):
    from keras_dep import deflation

    return [rest for rest, *_ in deflation.deflate_all(gradients, [1] * len(gradients))]


def _full_svd(gradients):
    """Removes the leading component by a full SVD, as in the paper's released code."""
    from keras import ops

    from keras_dep import deflation

    results = []
    for gradient in gradients:
        if len(gradient.shape) >= 2:
            matrix = deflation.matricise(gradient)
            u, s, vt = ops.svd(matrix, full_matrices=False)
            gradient = ops.reshape(matrix - s[0] * u[:, :1] * vt[:1], gradient.shape)
        results.append(gradient)
    return results


def _transform():
    from keras_dep.optimizers import GradientTransform

    class Transform(GradientTransform):
        """Applies any function to the gradients, and records the last ones if asked."""

        def __init__(self, function, inner, records=False):
            super().__init__(inner)
            self.function = function
            self.records = [] if records else None

        def build(self, variables):
            if not self.built and self.records is not None:
                self.records = [self.add_variable_from_reference(v, "record") for v in variables]
            super().build(variables)

        def transform(self, gradients, variables):
            for record, gradient in zip(self.records or (), gradients):
                record.assign(gradient)
            return self.function(gradients)

    return Transform


def _sgd():
    import keras

    return keras.optimizers.SGD(0.01, momentum=0.9)


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
