"""Builders of the event sets for TensorFlow Datasets, which has none of its own."""

import functools
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from keras_dep.data.events import dvs128_gesture
from keras_dep.data.events import dvs_cifar10
from keras_dep.data.events.framing import EVENT
from keras_dep.data.events.recording import Recording


def builder(name: str, data_dir: str, file_format: str) -> Any:
    """The builder of a set in a folder of prepared sets.

    The classes are made when asked for, because TensorFlow Datasets is optional.

    Args:
        name: `"dvs128_gesture"` or `"dvs_cifar10"`.
        data_dir: the folder of prepared sets.
        file_format: format of the shards.

    Returns:
        A `tensorflow_datasets.core.GeneratorBasedBuilder` with the splits `train` and `test` and
        the features `events` (`t`, `x`, `y`, `p`, as in the archive), `label` and `name`.
    """
    return _classes()[name](data_dir=data_dir, file_format=file_format)


@functools.cache
def _classes() -> dict[str, Any]:
    import tensorflow_datasets as tfds

    class RawEvents:
        """What the two builders share: raw events with labels."""

        VERSION = tfds.core.Version("1.0.0")
        CLASSES: tuple[str, ...] = ()
        PAGE = ""
        read: Callable[[pathlib.Path, str], Iterator[Recording]]

        def _info(self) -> Any:
            events = {
                field: tfds.features.Tensor(shape=(None,), dtype=EVENT[field].newbyteorder("="))
                for field in EVENT.names or ()
            }
            features = {
                "events": events,
                "label": tfds.features.ClassLabel(names=self.CLASSES),
                "name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                homepage=self.PAGE,
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            folder = self.folder(dl_manager)
            return {
                split: self._generate_examples(type(self).read(folder, split))
                for split in ("train", "test")
            }

        def _generate_examples(self, recordings: Iterator[Recording]) -> Iterator[Any]:
            for name, label, events in recordings:
                fields = {field: events[field] for field in EVENT.names or ()}
                yield name, {"events": fields, "label": label, "name": name}

        def folder(self, dl_manager: Any) -> pathlib.Path:
            """The folder that `read` takes."""
            return pathlib.Path(dl_manager.manual_dir)

    class DvsCifar10(RawEvents, tfds.core.GeneratorBasedBuilder):
        """10,000 images of CIFAR-10, moved on a screen before a DVS128 (Li et al., 2017)."""

        RELEASE_NOTES = {"1.0.0": "Recordings 0 to 99 of each class are the test set."}
        MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put the ten zip files of {dvs_cifar10.PAGE} there."
        CLASSES, PAGE = dvs_cifar10.CLASSES, dvs_cifar10.PAGE
        read = staticmethod(dvs_cifar10.recordings)

    class Dvs128Gesture(RawEvents, tfds.core.GeneratorBasedBuilder):
        """11 gestures of 29 people before a DVS128 (Amir et al., CVPR 2017)."""

        RELEASE_NOTES = {"1.0.0": "Cut by the archive's tables: 1176 and 288 gestures."}
        MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put {dvs128_gesture.ARCHIVE} there."
        CLASSES, PAGE = dvs128_gesture.CLASSES, dvs128_gesture.PAGE
        read = staticmethod(dvs128_gesture.recordings)

        def folder(self, dl_manager: Any) -> pathlib.Path:
            archive = pathlib.Path(dl_manager.manual_dir) / dvs128_gesture.ARCHIVE
            unpacked = dl_manager.extract(archive)
            return pathlib.Path(unpacked) / dvs128_gesture.FOLDER

    return {"dvs_cifar10": DvsCifar10, "dvs128_gesture": Dvs128Gesture}
