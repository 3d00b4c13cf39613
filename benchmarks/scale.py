"""Seconds per step of one run on one worker and on two, and a forecast for more of them.

Each engine trains a small spiking VGG-5 on drawn 16x16 images in processes of its own; two workers
divide the batch that one trains on. The share of communication is what two workers take beyond one
worker with half of the batch: on one machine it holds their contest for its cores too. The forecast
adds a ring's all-reduce of the gradients to the measured half step:
2 (n - 1) / n * bytes / bandwidth + 2 (n - 1) * latency.

  python benchmarks/scale.py --json=scale.json
  python benchmarks/scale.py --engines=data_parallel --quick
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import harness

BACKENDS = {
    "ddp": "torch",
    "mirrored": "tensorflow",
    "multiworker": "tensorflow",
    "data_parallel": "jax",
}
SHAPE, CLASSES, BATCH = (16, 16, 3), 10, 32
FORECAST = (8, 64)
ROW = "{:<16}{:>9}{:>9}{:>13}{:>9}{:>15}"
ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default=",".join(BACKENDS))
    parser.add_argument("--rounds", type=int, default=20, help="steps that are timed")
    parser.add_argument("--bandwidth", type=float, default=1.25e9, help="bytes per second")
    parser.add_argument("--latency", type=float, default=5e-5, help="seconds per message")
    parser.add_argument("--quick", action="store_true", help="5 steps")
    parser.add_argument("--json", help="file to write the rows to")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        engine, batch, file = options.measure
        _measure(None if engine == "none" else engine, int(batch), options.rounds, file)
        return
    options.rounds = 5 if options.quick else options.rounds
    harness.listed(parser, options, "engines", BACKENDS)
    rows = []
    print(ROW.format("engine", "one", "two", "half batch", "ratio", "communication"))
    for engine in options.engines:
        rows += _rows(engine, options)
    harness.save(rows, options)


def _rows(engine, options):
    kinds = (None, BATCH), (None, BATCH // 2), (engine, BATCH)
    # In turn, and the least of each: other work on the machine only adds to it.
    found = [
        [_seconds(started, engine, batch, options.rounds) for started, batch in kinds]
        for _ in range(1 if options.quick else 2)
    ]
    one, half, two = (min(each, key=lambda part: part["seconds"]) for each in zip(*found))
    ratio = two["seconds"] / one["seconds"]
    share = max(0.0, 1 - half["seconds"] / two["seconds"])
    times = [f"{each['seconds']:.4g}" for each in (one, two, half)]
    print(ROW.format(engine, *times, f"{ratio:.3g}", f"{share:.3g}"), flush=True)

    def row(case, metric, ours, peer=None, name=None, ratio=None):
        return harness.row(BACKENDS[engine], f"{engine}, {case}", metric, ours, peer, name, ratio)

    seconds = row(
        *("2 workers", "seconds per step", two["seconds"], one["seconds"], "one worker", ratio)
    )
    rows = [seconds, row("2 workers", "share of communication", share)]
    for count in FORECAST:
        traffic = _ring(count, two["bytes"], options.bandwidth, options.latency)
        found = half["seconds"] + traffic
        print(f"  {count} workers of {BATCH // 2} images: {found:.4g} s, {traffic:.3g} s of them")
        case = f"{count} workers, forecast"
        rows += [
            row(case, "seconds per step", found),
            row(case, "share of communication", traffic / found),
        ]
    return rows


def _ring(count, size, bandwidth, latency):
    """Seconds of an all-reduce of `size` bytes over a ring of `count` workers."""
    return 2 * (count - 1) / count * size / bandwidth + 2 * (count - 1) * latency


def _seconds(started, engine, batch, rounds):
    """What the first worker measures; with no engine started, a process by itself."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "found.json")
        own = [__file__, f"--rounds={rounds}", "--measure", started or "none", str(batch), file]
        common = {
            **os.environ,
            "KERAS_BACKEND": BACKENDS[engine],
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "GLOO_SOCKET_IFNAME": "lo",
            # Each worker has one core, as each of many has its own device.
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false",
        }
        launched, environments = [sys.executable], [{}]
        if started == "ddp":
            launched += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        elif started == "multiworker":
            cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(2)]}
            environments = [
                {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
                for task in ({"type": "worker", "index": index} for index in range(2))
            ]
        processes = [
            subprocess.Popen([*launched, *own], env={**common, **environment})
            for environment in environments
        ]
        if any([process.wait() for process in processes]):
            raise SystemExit(f"scale.py: the workers of {engine} failed.")
        return json.loads(pathlib.Path(file).read_text())


def _free_ports(count):
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _measure(engine, batch, rounds, file):
    import keras
    import numpy as np

    import keras_dep
    from keras_dep import distribution
    from keras_dep import losses
    from keras_dep import models

    devices = 2 if engine in ("mirrored", "data_parallel") else None
    workers = distribution.start(engine, devices=devices) if engine else distribution.workers()
    keras.utils.set_random_seed(0)
    with workers.scope():
        network = models.build("vgg5", input_shape=SHAPE, num_classes=CLASSES, timesteps=2)
        sgd = keras.optimizers.SGD(0.01)
        network.compile(keras_dep.DEP(sgd), losses.MeanLogitCrossentropy())
    draw = np.random.default_rng(0)
    x = draw.random((batch, *SHAPE), "float32")
    y = draw.integers(0, CLASSES, batch).astype("int32")
    x, y = distribution.own_share((x, y))
    seconds = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        network.train_on_batch(x, y)
        seconds.append(time.perf_counter() - started)
    if workers.chief:
        # Gradients are float32. The first steps compile.
        size = 4 * sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        found = {"seconds": min(seconds[2:]), "bytes": size}
        pathlib.Path(file).write_text(json.dumps(found))
    workers.leave()
    sys.stdout.flush()
    # No teardown: gloo's has been seen to wait for ever for a process that had left.
    os._exit(0)


if __name__ == "__main__":
    main()
