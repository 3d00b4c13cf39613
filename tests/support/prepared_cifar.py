"""Small CIFAR-10 and CIFAR-10-C folders, prepared by the builders of TensorFlow Datasets."""

import numpy as np


def prepare_cifar10(root, monkeypatch, examples=12):
    """The test images, their labels; every fifth of the images trains too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (examples, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(examples) % 10).astype("uint8")
    batches = root / "archive" / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    (batches / "batches.meta.txt").write_text("\n".join(f"class{k}" for k in range(10)))
    planes = images.transpose(0, 3, 1, 2).reshape(examples, -1)
    content = np.concatenate([labels[:, None], planes], axis=1)
    for number in range(1, 6):
        (batches / f"data_batch_{number}.bin").write_bytes(content[number::5].tobytes())
    (batches / "test_batch.bin").write_bytes(content.tobytes())
    _build("cifar10", root, root / "archive", monkeypatch)


def prepare_corrupted(root, monkeypatch, corruptions, examples=12, severities=5):
    """Writes the archive's arrays and prepares each severity; returns the arrays by corruption."""
    rng = np.random.default_rng(1)
    folder = root / "archive" / "CIFAR-10-C"
    folder.mkdir(parents=True, exist_ok=True)
    # The archive repeats the labels for each severity.
    np.save(folder / "labels.npy", np.tile(np.arange(examples) % 10, 5).astype("uint8"))
    made = {}
    for name in corruptions:
        made[name] = rng.integers(0, 256, (5 * examples, 32, 32, 3), dtype=np.uint8)
        np.save(folder / f"{name}.npy", made[name])
        for severity in range(1, severities + 1):
            _build(f"cifar10_corrupted/{name}_{severity}", root, root / "archive", monkeypatch)
    return made


def _build(name, root, archive, monkeypatch):
    from keras_dep.data import tfds_reading

    tfds = tfds_reading.reader()
    with monkeypatch.context() as patch:
        manager = tfds.download.DownloadManager
        patch.setattr(manager, "download_and_extract", lambda self, url: str(archive))
        tfds.builder(name, data_dir=str(root / "tfds")).download_and_prepare()
