"""The builder of Tiny ImageNet for TensorFlow Datasets, which has none of its own."""

import functools
import io
import pathlib
from collections.abc import Iterator
from typing import Any

from keras_dep.data.tiny_imagenet_archive import ARCHIVE
from keras_dep.data.tiny_imagenet_archive import Archive
from keras_dep.data.tiny_imagenet_archive import Member


def builder(data_dir: str, file_format: str) -> Any:
    """The builder of the set in a folder of prepared sets.

    The class is made when asked for, because TensorFlow Datasets is optional.

    Args:
        data_dir: the folder of prepared sets.
        file_format: format of the shards.

    Returns:
        A `tensorflow_datasets.core.GeneratorBasedBuilder` with the splits `train` and `validation`
        and the features `image` (encoded as in the archive), `label` and `file_name`.
    """
    return _class()(data_dir=data_dir, file_format=file_format)


@functools.cache
def _class() -> Any:
    import tensorflow_datasets as tfds

    class TinyImagenet(tfds.core.GeneratorBasedBuilder):
        """200 classes of ImageNet at 64x64 pixels, of Stanford's course CS231n."""

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "The archive of 2015."}
        MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put {ARCHIVE} into the folder."

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                        "label": tfds.features.ClassLabel(),
                        "file_name": tfds.features.Text(),
                    }
                ),
                supervised_keys=("image", "label"),
                homepage="http://cs231n.stanford.edu",
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            archive = Archive(pathlib.Path(dl_manager.manual_dir) / ARCHIVE)
            self.info.features["label"].names = archive.classes
            return {
                "train": self._generate_examples(archive.training_images()),
                "validation": self._generate_examples(archive.validation_images()),
            }

        def _generate_examples(self, members: Iterator[Member]) -> Iterator[Any]:
            for name, wnid, encoded in members:
                example = {
                    "image": io.BytesIO(encoded),
                    "label": wnid,
                    "file_name": pathlib.PurePosixPath(name).name,
                }
                yield name, example

    return TinyImagenet
