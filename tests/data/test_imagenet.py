"""ImageNet from small archives of its layout: prepared, and preprocessed as the paper does."""

import io
import tarfile

import keras
import numpy as np
import PIL.Image
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")
pytest.importorskip("grain")

from keras_dep.data import preparation
from keras_dep.data import sources
from keras_dep.data import tfds_files
from keras_dep.data.loader import Batches
from tests.data.test_preprocessing import torchvision_box
from tests.support.image_archives import jpeg

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="nothing here is computed by the backend"
)
# The second is one of the CMYK images that TensorFlow Datasets knows by name.
TRAINING = {
    "n01440764": {"n01440764_18.JPEG": jpeg((500, 375), seed=1)},
    "n01739381": {
        "n01739381_1309.JPEG": jpeg((300, 280), "CMYK", seed=2),
        "n01739381_2.JPEG": jpeg((120, 90), "L", seed=3),
    },
    "n02077923": {"n02077923_1.JPEG": jpeg((200, 640), seed=4)},
}
VALIDATION = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg((400, 260 + i), seed=i) for i in (1, 2, 3)}


def write_tar(target, files):
    with (
        tarfile.open(target, "w")
        if isinstance(target, str)
        else tarfile.open(fileobj=target, mode="w") as archive
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    inner = {
        f"{wnid}.tar": write_tar(io.BytesIO(), files).getvalue() for wnid, files in TRAINING.items()
    }
    write_tar(str(folder / "ILSVRC2012_img_train.tar"), inner)
    with pytest.raises(tfds_files.DataMissingError, match="ILSVRC2012_img_val.tar, which is not"):
        preparation.prepare("imagenet2012", folder / "tfds", folder, lambda line: None)
    write_tar(str(folder / "ILSVRC2012_img_val.tar"), VALIDATION)
    notes = []
    preparation.prepare("imagenet2012", folder / "tfds", folder, notes.append)
    assert "has another MD5 than the published archive" in " ".join(notes)
    return folder / "tfds"


def picture(encoded):
    return PIL.Image.open(io.BytesIO(encoded)).convert("RGB")


def as_tested(encoded):
    image = picture(encoded)
    width, height = image.size
    if width <= height:
        image = image.resize((256, int(256 * height / width)), PIL.Image.BILINEAR)
    else:
        image = image.resize((int(256 * width / height), 256), PIL.Image.BILINEAR)
    left = int(round((image.size[0] - 224) / 2.0))
    top = int(round((image.size[1] - 224) / 2.0))
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def test_test_images_and_labels(root):
    data = sources.load("imagenet2012", root)
    assert data.num_classes == 1000 and data.image_shape == (224, 224, 3)
    assert len(data.train) == 4 and data.x_test.shape == (3, 224, 224, 3)
    for index in range(3):
        image, _ = data.test[index]
        np.testing.assert_array_equal(image, as_tested(VALIDATION[data.test.file_name(index)]))
    for index, (image, label) in enumerate(data.train):
        wnid = data.label_names[label]
        name = data.train.file_name(index)
        assert name in TRAINING[wnid]
        # TensorFlow Datasets writes its own RGB file for the CMYK image.
        if name != "n01739381_1309.JPEG":
            np.testing.assert_array_equal(image, as_tested(TRAINING[wnid][name]))


def test_training_batches_are_random_resized_crops(root):
    data = sources.load("imagenet2012", root)
    batches = Batches(data.x_train, data.y_train, 4, seed=2, augment="resized_crop", epoch=1)
    images, labels = batches[0]
    batches.close()
    order = np.random.default_rng([2, 1]).permutation(4)
    np.testing.assert_array_equal(labels, data.y_train[order])
    draw = np.random.default_rng([2, 1, 1])
    crops = []
    for index in order:
        image = PIL.Image.fromarray(data.train.original(index))
        top, left, height, width = torchvision_box(draw, *image.size[::-1])
        image = image.crop((left, top, left + width, top + height))
        crops.append(np.asarray(image.resize((224, 224), PIL.Image.BILINEAR)))
    mirrored = draw.random(4) < 0.5
    crops = [crop[:, ::-1] if mirror else crop for crop, mirror in zip(crops, mirrored)]
    np.testing.assert_array_equal(images, np.array(crops, "float32") / np.float32(255))


def test_a_set_in_another_format_is_refused(root):
    info = root / "imagenet2012" / "5.1.0" / "dataset_info.json"
    kept = info.read_text()
    info.write_text(kept.replace('"array_record"', '"tfrecord"'))
    try:
        with pytest.raises(tfds_files.DataMissingError, match="tfrecord instead of array_record"):
            sources.load("imagenet2012", root)
    finally:
        info.write_text(kept)
