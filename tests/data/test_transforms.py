"""Crop, Cutout and flip against loops over single images, and the laws of their draws."""

import math

import numpy as np
import pytest

from keras_dep.data import transforms

SHAPES = [(6, 32, 32, 3), (5, 8, 8, 1), (4, 12, 20, 3)]


def make_images(shape, dtype="uint8", seed=0):
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return images if dtype == "uint8" else (images / 255.0).astype(dtype)


def crop_one(image, top, left):
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            y, x = row + top - 4, column + left - 4
            if 0 <= y < height and 0 <= x < width:
                out[row, column] = image[y, x]
    return out


def cutout_one(image, top, left, box_height, box_width, value):
    out = image.copy()
    for row in range(top, top + box_height):
        for column in range(left, left + box_width):
            out[row, column] = value
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_paper_equals_a_loop_given_the_same_draws(shape, dtype):
    images = make_images(shape, dtype)
    count, height, width, _ = shape
    for seed in range(5):
        rng = np.random.default_rng(seed)
        tops, lefts = transforms.draw_crops(rng, count)
        boxes = transforms.draw_cutouts(rng, count, height, width)
        flips = transforms.draw_flips(rng, count)
        expected = []
        for index in range(count):
            image = crop_one(images[index], tops[index], lefts[index])
            *box, value = (draw[index] for draw in boxes)
            image = cutout_one(image, *box, value if dtype == "uint8" else value / 255.0)
            expected.append(np.fliplr(image) if flips[index] else image)

        result = transforms.paper(images, np.random.default_rng(seed))

        assert result.dtype == images.dtype
        np.testing.assert_array_equal(result, np.array(expected, images.dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_standard_equals_a_loop_given_the_same_draws(shape):
    images = make_images(shape)
    rng = np.random.default_rng(3)
    tops, lefts = transforms.draw_crops(rng, len(images))
    flips = transforms.draw_flips(rng, len(images))
    expected = [crop_one(*draws) for draws in zip(images, tops, lefts)]
    expected = [np.fliplr(image) if flip else image for image, flip in zip(expected, flips)]

    result = transforms.standard(images, np.random.default_rng(3))

    np.testing.assert_array_equal(result, expected)


def test_crop_in_the_middle_gives_the_image_back_and_the_corner_shows_zeros():
    images = make_images((2, 16, 16, 3)) | 1
    middle = np.array([4, 4])
    np.testing.assert_array_equal(transforms.crop(images, middle, middle), images)
    corner = transforms.crop(images, middle - 4, middle - 4)
    assert not corner[:, :4].any() and not corner[:, :, :4].any()
    np.testing.assert_array_equal(corner[:, 4:, 4:], images[:, :-4, :-4])


def test_cutout_takes_one_value_per_channel_too():
    images = make_images((2, 8, 8, 3))
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    boxes = [np.array(draw) for draw in ([0, 1], [0, 2], [2, 3], [8, 1])]
    result = transforms.cutout(images, *boxes, values)
    expected = [cutout_one(*draws) for draws in zip(images, *boxes, values)]
    np.testing.assert_array_equal(result, expected)


def test_crop_draws_are_uniform_over_nine_places():
    draws = transforms.draw_crops(np.random.default_rng(0), 20_000)
    for places in draws:
        share = np.bincount(places, minlength=9) / places.size
        assert share.size == 9
        np.testing.assert_allclose(share, 1 / 9, atol=0.01)
    assert abs(np.corrcoef(draws)[0, 1]) < 0.03


def test_cutout_draws_follow_the_published_law():
    count, side = 20_000, 320
    top, left, height, width, value = transforms.draw_cutouts(
        np.random.default_rng(0), count, side, side
    )
    chosen = height > 0
    assert abs(chosen.mean() - 0.5) < 0.02
    top, left, height, width = (draw[chosen] for draw in (top, left, height, width))
    assert (top >= 0).all() and (top + height <= side).all()
    assert (left >= 0).all() and (left + width <= side).all()
    # Rounding each side down loses less than a pixel, about 2 % of the smallest side.
    area = (height + 0.5) * (width + 0.5) / side**2
    aspect = (height + 0.5) / (width + 0.5)
    assert 0.019 < area.min() < 0.03 and 0.39 < area.max() < 0.41
    assert 0.39 < aspect.min() < 0.41 and 2.45 < aspect.max() < 2.55
    assert abs(area.mean() - 0.21) < 0.005 and abs(aspect.mean() - 1.45) < 0.02
    # A uniform draw has standard deviation (high - low) / sqrt(12).
    assert abs(area.std() - 0.38 / math.sqrt(12)) < 0.005
    place = top / (side - height)
    assert abs(place.mean() - 0.5) < 0.02 and abs(place.std() - 1 / math.sqrt(12)) < 0.02
    assert value.min() == 0 and value.max() == 255 and abs(value.mean() - 127.5) < 2


def test_cutout_box_stays_inside_a_flat_image():
    draws = transforms.draw_cutouts(np.random.default_rng(0), 5000, 4, 100)
    top, _, height, *_ = draws
    assert height.max() == 4
    assert (top + height <= 4).all()


def test_half_of_the_images_are_mirrored():
    assert abs(transforms.draw_flips(np.random.default_rng(0), 20_000).mean() - 0.5) < 0.02


@pytest.mark.parametrize("name", ["paper", "standard", "none"])
def test_input_stays_and_the_generator_decides(name):
    images = make_images((16, 32, 32, 3))
    kept = images.copy()
    augment = transforms.get(name)
    first, again, other = (augment(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(images, kept)
    np.testing.assert_array_equal(first, again)
    assert (first == other).all() == (name == "none")
    assert (first == images).all() == (name == "none")


def test_unknown_name_is_one_line_and_names_the_known():
    assert transforms.names() == ["none", "paper", "resized_crop", "standard"]
    with pytest.raises(ValueError, match="none, paper, resized_crop, standard.*'papre'") as caught:
        transforms.get("papre")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["standard", "paper"])
def test_frames_are_changed_alike_at_every_step(name):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 2), dtype=np.uint8)
    frames = np.stack([images, images, 255 - images], axis=1)
    found = transforms.get(name)(frames, np.random.default_rng(3))
    expected = transforms.get(name)(images, np.random.default_rng(3))
    assert found.shape == frames.shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 0], expected)
    np.testing.assert_array_equal(found[:, 1], expected)
    other = transforms.get(name)(255 - images, np.random.default_rng(3))
    np.testing.assert_array_equal(found[:, 2], other)
