"""Images a second of the input pipeline, against plain tf.data and against what training takes.

Both pipelines read the same JPEG files of 64x64 pixels in a made set with the layout of Tiny
ImageNet, decode, crop, flip and batch them: ours from ArrayRecord with Pillow and Grain, the peer
from a TFRecord file with TensorFlow's own operations. Each has a process of its own, and they take
turns of some batches. --train adds the share of the time that training a spiking ResNet-18 waits
for its next batch; fewer --timesteps make its steps shorter and its demand higher. --dataset and
--data_dir measure ours alone on a prepared set.

  python benchmarks/input.py --backend=torch --train --json=input.json
  python benchmarks/input.py --backend=jax --quick --train
  python benchmarks/input.py --dataset=imagenet2012 --data_dir=/data/tfds --augment=resized_crop
"""

import contextlib
import io
import itertools
import os
import statistics
import tempfile
import time
import zipfile

import harness

BATCH, BATCHES, CLASSES, PER_CLASS, TRAIN_STEPS = 128, 40, 4, 2000, 20
GOAL = 10_000
PEER = "tf.data"


def main():
    options = _options()
    if options.process:
        harness.answer(_pipeline(options))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not options.data_dir:
            options.data_dir = folder
            _make_set(folder, PER_CLASS // 10 if options.quick else PER_CLASS)
        _measure(options)


def _batch(options):
    return 16 if options.quick else BATCH


def _network(options):
    name = "VGG-5" if options.quick else "ResNet-18"
    return f"{name}, T {options.timesteps}, batch {_batch(options)}"


def _measure(options):
    """Lets the pipelines take turns, prints images a second, and saves the rows."""
    names = ["ours"] if options.dataset != "tiny_imagenet" or options.alone else ["ours", PEER]
    count = 4 if options.quick else BATCHES
    rates = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        asked = {name: stack.enter_context(_process(name, options)) for name in names}
        for number in range(options.rounds + 1):
            for name, ask in asked.items():
                seconds, cores = ask("read", count)
                if number:
                    rates[name].append((count * _batch(options) / seconds, cores))
        trained = asked["ours"]("train", options.steps) if options.train else 0
    rows = []
    for name in names:
        speed = statistics.median(rate for rate, _ in rates[name])
        each = statistics.median(rate / max(cores, 1e-3) for rate, cores in rates[name])
        print(
            f"{name:<10}{speed:>10.0f} images a second, {each:>8.0f} a core;"
            f" {GOAL:,} a second take {GOAL / each:.1f} cores"
        )
    if len(names) > 1:
        ours, peer = (statistics.median(rate for rate, _ in rates[name]) for name in names)
        ratios = [a / b for (a, _), (b, _) in zip(*(rates[name] for name in names))]
        case = f"{options.dataset}, {options.augment}, {options.workers} workers"
        ratio = statistics.median(ratios)
        rows.append(harness.row(options.backend, case, "images a second", ours, peer, PEER, ratio))
    if trained:
        waited, total = trained
        demand = options.steps * _batch(options) / total
        print(f"training takes {demand:.0f} images a second and waits {waited / total:.2%} of it")
        case = f"{_network(options)}: wait for images in {options.steps} train steps"
        ratio = waited / total
        rows.append(
            harness.row(options.backend, case, "seconds", waited, total, "whole training", ratio)
        )
    harness.save(rows, options)


def _options():
    parser = harness.parser(__doc__, "few images and VGG-5", "turns of each pipeline")
    parser.add_argument("--dataset", default="tiny_imagenet")
    parser.add_argument("--data_dir", help="folder of a prepared set; default: a set is made")
    parser.add_argument("--augment", default="standard")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--processes", action="store_true", help="workers are processes")
    parser.add_argument("--train", action="store_true", help="measure the wait of training too")
    parser.add_argument("--timesteps", type=int, default=4, help="of the network in training")
    parser.add_argument("--steps", type=int, default=TRAIN_STEPS, help="train steps measured")
    parser.add_argument("--alone", action="store_true", help="leave the peer out")
    parser.add_argument("--process", help="used by the benchmark for its own processes")
    return harness.parsed(parser)


def _process(name, options):
    given = [
        f"--{key}={getattr(options, key)}"
        for key in ("backend", "dataset", "data_dir", "augment", "workers", "timesteps")
    ]
    given += [f"--{key}" for key in ("quick", "processes") if getattr(options, key)]
    return harness.process_of(__file__, *given, f"--process={name}")


def _pipeline(options):
    """Returns the function that answers `read COUNT` and `train COUNT` in a process."""
    if options.process == PEER:
        stream = _tf_data(options)
    else:
        batches = _batches(options)
        stream = _all_epochs(batches)

    def reply(what, count):
        started, used = time.perf_counter(), time.process_time()
        if what == "train":
            return _train(batches, stream, int(count), options)
        for _ in itertools.islice(stream, int(count)):
            pass
        seconds = time.perf_counter() - started
        return seconds, (time.process_time() - used) / seconds

    return reply


def _batches(options):
    from keras_dep import data

    images = data.load(options.dataset, options.data_dir)
    return data.Batches(
        images.x_train,
        images.y_train,
        _batch(options),
        augment=options.augment,
        workers=options.workers,
        processes=options.processes,
    )


def _all_epochs(batches):
    for epoch in itertools.count():
        batches.epoch = epoch
        yield from (batches[index] for index in range(len(batches)))


def _train(batches, stream, count, options):
    """Trains; returns the seconds that it waited for images, and all seconds."""
    import numpy as np

    from keras_dep import data
    from keras_dep.experiments import Settings
    from keras_dep.experiments import build

    size, model = _batch(options), "vgg5" if options.quick else "resnet18"
    settings = Settings(
        dataset=options.dataset, model=model, batch_size=size, timesteps=options.timesteps
    )
    drawn = np.zeros((size, *batches.x.shape[1:]), "uint8"), np.zeros(size, "int32")
    classes = batches.y.source.num_classes
    shown = data.Dataset("drawn", *drawn, *drawn, classes, (0.5,) * 3, (0.25,) * 3, ())
    parts = build.assemble(settings, _method(), shown, build.build_batches(settings, shown))
    waited = total = 0.0
    for number in range(count + 1):
        started = time.perf_counter()
        x, y = next(stream)
        ready = time.perf_counter()
        float(parts.model.train_on_batch(x, y, return_dict=True)["loss"])
        # The first step compiles.
        if number:
            waited += ready - started
            total += time.perf_counter() - started
    return waited, total


def _method():
    from keras_dep import defences

    return defences.get("sgd")


def _tf_data(options):
    """The peer: a plain pipeline of TensorFlow over the same files."""
    import tensorflow as tf

    def decode(record):
        parsed = tf.io.parse_single_example(
            record,
            {
                "image": tf.io.FixedLenFeature([], tf.string),
                "label": tf.io.FixedLenFeature([], tf.int64),
            },
        )
        image = tf.io.decode_jpeg(parsed["image"], channels=3)
        image = tf.image.random_crop(tf.pad(image, [[4, 4], [4, 4], [0, 0]]), (64, 64, 3))
        image = tf.image.random_flip_left_right(image)
        return tf.cast(image, "float32") / 255, parsed["label"]

    path = os.path.join(options.data_dir, "peer.tfrecord")
    if not os.path.exists(path):
        _write_records(path, options)
    stream = tf.data.TFRecordDataset(path).shuffle(4096, seed=0).repeat()
    stream = stream.map(decode, num_parallel_calls=options.workers)
    return iter(stream.batch(_batch(options)).prefetch(2))


def _write_records(path, options):
    import tensorflow as tf

    from keras_dep import data

    source = data.load(options.dataset, options.data_dir).train
    with tf.io.TFRecordWriter(path) as writer:
        for index in range(len(source)):
            feature = {
                "image": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[source.encoded(index)])
                ),
                "label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[source.label(index)])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def _make_set(folder, per_class):
    """Prepares a set of noise with the sizes of Tiny ImageNet's files, about two kilobytes each."""
    import numpy as np
    from PIL import Image

    from keras_dep.data import preparation

    draw, root = np.random.default_rng(0), "tiny-imagenet-200/"
    images = []
    for _ in range(200):
        coarse = Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
        images.append(file.getvalue())
    wnids = [f"n{number:08d}" for number in range(CLASSES)]
    with zipfile.ZipFile(os.path.join(folder, "tiny-imagenet-200.zip"), "w") as archive:
        archive.writestr(f"{root}wnids.txt", "\n".join(wnids))
        for wnid, number in itertools.product(wnids, range(per_class)):
            name = f"{root}train/{wnid}/images/{wnid}_{number}.JPEG"
            archive.writestr(name, images[draw.integers(len(images))])
        archive.writestr(f"{root}val/images/val_0.JPEG", images[0])
        archive.writestr(f"{root}val/val_annotations.txt", f"val_0.JPEG\t{wnids[0]}\t0\t0\t62\t62")
    preparation.prepare("tiny_imagenet", folder, folder, report=lambda line: None)


if __name__ == "__main__":
    main()
