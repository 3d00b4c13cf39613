"""Files of images and labels: what they hold, and every mistake in one line."""

import numpy as np
import pytest

from keras_dep.data import load_npz

IMAGES = np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3)


@pytest.mark.parametrize("names", [("images", "labels"), ("x_test", "y_test")])
@pytest.mark.parametrize("labels", [[2, 0], [[2], [0]], [[0, 0, 1], [1, 0, 0]]])
def test_images_and_labels(tmp_path, names, labels):
    path = tmp_path / "a.npz"
    np.savez(path, **dict(zip(names, (IMAGES, labels))), other=np.zeros(3))
    data = load_npz(path)
    np.testing.assert_array_equal(data.x_test, IMAGES)
    assert data.x_test.dtype == np.uint8 and data.y_test.tolist() == [2, 0]
    assert (data.name, data.num_classes, data.image_shape) == ("a.npz", 3, (4, 4, 3))
    np.testing.assert_allclose(data.mean, (IMAGES / 255).mean(axis=(0, 1, 2)), rtol=1e-5)
    assert len(data.x_train) == 0 and len(data.label_names) == 3


def test_floats_and_the_number_of_classes(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES / 255, labels=[2, 0], classes=10)
    data = load_npz(tmp_path / "a.npz")
    assert data.num_classes == 10 and data.x_test.max() <= 1


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"images": IMAGES}, "expected the arrays images and labels"),
        ({"a": IMAGES, "b": [1, 0]}, "received a, b; write it by numpy.savez"),
        (
            {"images": IMAGES / 1.0, "labels": [1, 0]},
            r"lie in \[0, 1\]; received values from 0 to 95",
        ),
        ({"images": IMAGES / np.nan, "labels": [1, 0]}, "not finite in 2 of 2 images"),
        ({"images": IMAGES.astype("int64"), "labels": [1, 0]}, r"uint8, or float in \[0, 1\]"),
        ({"images": IMAGES, "labels": [1, 0, 1]}, "received 2 images and 3 labels"),
        ({"images": IMAGES[:0], "labels": []}, "received 0 images"),
        ({"images": IMAGES, "labels": [1, 0.5]}, "whole numbers"),
        ({"images": IMAGES, "labels": [1, -1]}, "with the label -1"),
        ({"images": IMAGES, "labels": [1, 5], "classes": 3}, "0 to 2, of 3 classes"),
        ({"images": IMAGES, "labels": [1, 0], "classes": 2.5}, "classes must be a whole number"),
        ({"images": np.array([None, {}]), "labels": [1, 0]}, "is no .npz file of numbers"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=words) as caught:
        load_npz(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"no zip at all"])
def test_a_file_that_is_missing_or_damaged(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="is not there" if content is None else "is no .npz"):
        load_npz(path)
