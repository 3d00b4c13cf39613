"""Seconds per step and peak memory of each method of training, as ratios to plain SGD.

All methods train the same network on the same batches within one process, in rounds of one step of
each. The ratio is the median over rounds of the time of a method's step over SGD's in the same
round. --memory adds the peak memory of a process that runs only three such steps, above its start,
compilation included; with --rounds=0 nothing else.

  python benchmarks/defences.py --backend=torch --memory --json=defences.json
  python benchmarks/defences.py --backend=jax --quick --methods=sgd,dep,sam
  python benchmarks/defences.py --backend=tensorflow --memory --rounds=0
"""

import multiprocessing
import os
import statistics
import tempfile
import time

import harness

MODEL, TIMESTEPS, BATCH = "vgg11", 4, 32


def main():
    options = _options()
    times = _times(options) if options.rounds else {}
    print(f"{'method':<20}{'seconds':>10}{'of SGD':>10}{'peak MB':>10}{'of SGD':>10}")
    rows, least = [], None
    for method in options.methods:
        cells = ["", ""]
        if times:
            plain = statistics.median(times["sgd"])
            middle = statistics.median(times[method])
            ratio = statistics.median(a / b for a, b in zip(times[method], times["sgd"]))
            rows.append(_row(options, f"{method}, step", "seconds", middle, plain, ratio))
            cells = [f"{middle:.3f}", f"{ratio:.2f}"]
        if options.memory:
            peak = _peak(method, options)
            least = least or peak
            rows.append(_row(options, f"{method}, peak", "megabytes", peak, least, peak / least))
            cells += [f"{peak:.0f}", f"{peak / least:.2f}"]
        print(f"{method:<20}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
        # A later method may be interrupted.
        harness.save(rows, options)


def _times(options):
    """Returns seconds by method, of rounds in which each takes one step."""
    steps = {method: _step(method, options) for method in options.methods}
    times = {method: [] for method in steps}
    for number in range(options.rounds + 2):
        for method, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 2:
                times[method].append(time.perf_counter() - started)
    return times


def _options():
    parser = harness.parser(__doc__, "VGG-5 and 8 images", "counted steps of each; 0: no times")
    parser.add_argument("--methods", help="comma-separated, including sgd; default: all")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    options = harness.parsed(parser)

    from keras_dep import defences

    try:
        methods = [each.name for each in defences.parse(options.methods or _all())]
    except ValueError as error:
        parser.error(str(error))
    if "sgd" not in methods:
        parser.error(f"methods must include sgd, the reference; received {methods}; add sgd.")
    # The reference of the others' memory comes first.
    options.methods = sorted(methods, key=lambda method: method != "sgd")
    return options


def _all():
    from keras_dep import defences

    return ",".join(["sgd", *(name for name in defences.names() if name != "sgd")])


def _step(method, options):
    """Returns a function that runs one training step of a method and waits for its loss."""
    import keras
    import numpy as np

    from keras_dep import defences
    from keras_dep.data import sources
    from keras_dep.experiments import Settings
    from keras_dep.experiments import build

    count = 8 if options.quick else BATCH
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (count, 32, 32, 3)).astype("uint8")
    y = draw.integers(0, 10, count).astype("int32")
    names = tuple(map(str, range(10)))
    data = sources.Dataset("drawn", x, y, x, y, 10, (0.5,) * 3, (0.25,) * 3, names)
    settings = Settings(
        model="vgg5" if options.quick else MODEL, timesteps=TIMESTEPS, batch_size=count
    )
    keras.utils.set_random_seed(0)
    if method.startswith("hosnn"):
        method = f"hosnn(signature={_signature(settings, data)!r})"
    defence = defences.get(method)
    settings = build.settings_of(settings, defence)
    parts = build.assemble(settings, defence, data, build.build_batches(settings, data))
    for callback in parts.callbacks:
        callback.set_model(parts.model)
        callback.on_epoch_begin(0)
    images = x.astype("float32") / 255
    return lambda: float(parts.model.train_on_batch(images, y, return_dict=True)["loss"])


def _signature(settings, data):
    """Writes the signature of the untrained network, and returns the path of its file."""
    import numpy as np

    from keras_dep import profiling
    from keras_dep.experiments import build

    network = build.build_network(settings, data)
    path = os.path.join(tempfile.mkdtemp(), "signature.npz")
    np.savez(path, **profiling.membrane_signature(network, data.x_train[:4] / np.float32(255)))
    return path


def _peak(method, options):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_megabytes, (method, options))


def _peak_megabytes(method, options):
    step = _step(method, options)
    with harness.peak_memory(options.backend) as peak:
        for _ in range(3):
            step()
    return peak[0]


def _row(options, case, metric, ours, plain, ratio):
    return harness.row(options.backend, case, metric, ours, plain, "SGD", ratio)


if __name__ == "__main__":
    main()
