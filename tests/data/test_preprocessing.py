"""Decoding, resizing and cropping against references in torchvision's terms."""

import io
import math

import numpy as np
import PIL.Image
import pytest

from keras_dep.data import preprocessing
from keras_dep.data import records
from keras_dep.data import transforms
from tests.support.image_archives import jpeg


def photograph(height, width, seed=0):
    file = io.BytesIO(jpeg((width, height), seed=seed, quality=95))
    return np.asarray(PIL.Image.open(file))


def triangle_resized(image, height, width):
    """Bilinear resampling with antialiasing in double precision, one axis after the other."""
    for axis, size in ((1, width), (0, height)):
        scale = image.shape[axis] / size
        reach = max(scale, 1.0)
        centres = (np.arange(size) + 0.5) * scale
        places = np.arange(image.shape[axis]) + 0.5
        weights = np.maximum(1 - np.abs(places - centres[:, None]) / reach, 0)
        weights /= weights.sum(axis=1, keepdims=True)
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return image


@pytest.mark.parametrize("height, width", [(300, 500), (500, 300), (61, 50), (256, 256)])
def test_test_images_are_resized_to_256_and_cut_to_224(height, width):
    image = photograph(height, width)
    found = records.middle(image, (224, 224))
    short = min(height, width)
    tall, wide = (256 if side == short else int(256 * side / short) for side in (height, width))
    resized = PIL.Image.fromarray(image).resize((wide, tall), PIL.Image.BILINEAR)
    left, top = int(round((wide - 224) / 2.0)), int(round((tall - 224) / 2.0))
    cut = resized.crop((left, top, left + 224, top + 224))
    np.testing.assert_array_equal(found, np.asarray(cut))
    exact = triangle_resized(image.astype(float), tall, wide)
    exact = exact[top : top + 224, left : left + 224]
    assert np.abs(found - exact).max() < 1.5


def torchvision_box(draw, height, width, scale=(0.08, 1.0), ratio=(3.0 / 4.0, 4.0 / 3.0)):
    """As `RandomResizedCrop.get_params` computes it, with draws from a NumPy generator."""
    area = height * width
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target_area = area * draw.uniform(scale[0], scale[1])
        aspect_ratio = math.exp(draw.uniform(log_ratio[0], log_ratio[1]))
        w = int(round(math.sqrt(target_area * aspect_ratio)))
        h = int(round(math.sqrt(target_area / aspect_ratio)))
        if 0 < w <= width and 0 < h <= height:
            i = draw.integers(0, height - h + 1)
            j = draw.integers(0, width - w + 1)
            return i, j, h, w
    in_ratio = float(width) / float(height)
    if in_ratio < min(ratio):
        w = width
        h = int(round(w / min(ratio)))
    elif in_ratio > max(ratio):
        h = height
        w = int(round(h * max(ratio)))
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def test_random_resized_crops_equal_torchvisions_given_the_same_draws():
    images = [photograph(90, 120), photograph(40, 200, 1), photograph(200, 10, 2)]
    images += [photograph(64, 64, seed) for seed in range(3, 9)]
    rng, draw = np.random.default_rng(5), np.random.default_rng(5)
    found = transforms.resized_crop(images, rng, (32, 24))
    expected = []
    for image in images:
        i, j, h, w = torchvision_box(draw, *image.shape[:2])
        cut = PIL.Image.fromarray(image).crop((j, i, j + w, i + h))
        expected.append(np.asarray(cut.resize((24, 32), PIL.Image.BILINEAR)))
    flips = draw.random(len(images)) < 0.5
    assert 0 < flips.sum() < len(images)
    expected = [each[:, ::-1] if flip else each for each, flip in zip(expected, flips)]
    np.testing.assert_array_equal(found, expected)


def test_boxes_follow_the_published_law():
    rng, count = np.random.default_rng(0), 4000
    boxes = np.array([preprocessing.draw_box(rng, 400, 400) for _ in range(count)])
    area, ratio = boxes[:, 2] * boxes[:, 3] / 400**2, np.log(boxes[:, 3] / boxes[:, 2])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 400).all()
    assert 0.078 < area.min() < 0.09 and area.max() <= 1
    assert abs(ratio).max() < math.log(4 / 3) + 0.02 and abs(ratio.mean()) < 0.01
    # Of the boxes that fit; those that do not are drawn again.
    fits = rng.uniform(0.08, 1, 10**6), np.exp(rng.uniform(*np.log([3 / 4, 4 / 3]), 10**6))
    wide, high = np.sqrt(fits[0] * fits[1]), np.sqrt(fits[0] / fits[1])
    assert abs(area.mean() - fits[0][(wide <= 1) & (high <= 1)].mean()) < 0.02


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_images_of_every_colour_space_become_rgb(mode):
    encoded = jpeg((7, 5), mode)
    image = PIL.Image.open(io.BytesIO(encoded))
    assert image.mode == mode
    found = preprocessing.decode(encoded, "a.jpeg")
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    assert found.shape == (5, 7, 3)


@pytest.mark.parametrize("encoded", [b"", b"no image", jpeg((64, 64))[:300]])
def test_damaged_files_are_named(encoded):
    with pytest.raises(ValueError, match=r"^a/b.JPEG cannot be decoded \(") as caught:
        preprocessing.decode(encoded, "a/b.JPEG")
    assert "\n" not in str(caught.value)


def test_grey_images_keep_their_channel_and_floats_are_refused():
    grey = np.arange(64, dtype="uint8").reshape(1, 8, 8, 1)
    assert transforms.resized_crop(grey, np.random.default_rng(0)).shape == (1, 8, 8, 1)
    with pytest.raises(ValueError, match="takes uint8 images; received float64"):
        transforms.resized_crop(grey / 255, np.random.default_rng(0))
