"""The one door for images, labels and numbers: every form of one thing is one array, the rest is
refused in one line."""

import numpy as np
import pytest
from keras import ops

from keras_dep._internal import validation

LABELS = np.array([2, 0, 1, 2])
FORMS = {
    "flat": LABELS,
    "column": LABELS[:, None],
    "one-hot": np.eye(3)[LABELS],
    "one-hot of booleans": np.eye(3, dtype=bool)[LABELS],
    "bytes": LABELS.astype("uint8"),
    "whole floats": LABELS.astype("float64"),
    "list": LABELS.tolist(),
    "rows": LABELS[:, None].tolist(),
}


@pytest.mark.parametrize("tensor", [False, True], ids=["array", "tensor"])
@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_labels_is_one_array(form, classes, tensor):
    given = ops.convert_to_tensor(FORMS[form]) if tensor else FORMS[form]
    found = validation.class_labels(given, classes)
    assert found.dtype == np.int32 and found.shape == (4,)
    np.testing.assert_array_equal(found, LABELS)


@pytest.mark.parametrize(
    "labels, classes, received",
    [
        ([0.5, 1.0], None, r"float64 \(2,\) with the label 0.5"),
        ([0.0, np.nan], None, "with the label nan"),
        ([0.0, np.inf], None, "with the label inf"),
        ([0, -1], None, "with the label -1"),
        ([1, 2, 3], 3, r"from 0 to 2, of 3 classes.*received int64 \(3,\) with the label 3"),
        ([2**40], None, f"with the label {2**40}"),
        (["cat", "dog"], None, "received <U3"),
        ([None, 1], None, "received object"),
        (np.zeros((0,)), None, r"received float64 \(0,\)"),
        (np.zeros((2, 0)), None, r"received float64 \(2, 0\)"),
        (np.zeros((2, 3, 1)), None, r"received float64 \(2, 3, 1\)"),
        ([[1, 1, 0]], None, r"with the row \[1, 1, 0\]"),
        ([[0, 0, 0]], None, r"with the row \[0, 0, 0\]"),
        ([[0.2, 0.8]], None, r"with the row \[0.2, 0.8\]"),
        ([[1, 2]], None, r"with the row \[1, 2\]"),
        ([[0, 1]], 3, r"of 3 classes, .*; received int64 \(1, 2\)"),
        ([[np.nan, 1]], None, "with the row"),
        (3, None, r"labels must be an array \(n, \.\.\.\); received 3"),
        ([[0], [0, 1]], None, "rows of different lengths"),
    ],
)
def test_other_labels_are_refused(labels, classes, received):
    with pytest.raises(ValueError, match=received) as raised:
        validation.class_labels(labels, classes)
    assert "labels" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("form", ["list", "array", "tensor", "float64", "uint8"])
def test_images_become_float32(form):
    given = np.array([[0.0, 1.0], [1.0, 0.0]], "float32")
    forms = {
        "list": given.tolist(),
        "array": given,
        "tensor": ops.convert_to_tensor(given),
        "float64": given.astype("float64"),
        "uint8": given.astype("uint8"),
    }
    found = validation.checked_images(forms[form])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize(
    "images, bounds, message",
    [
        (
            [[0.0, np.nan], [0, 0]],
            (0, 1),
            r"Images must lie in \[0, 1\]; received values that are not finite in 1 of 2 images",
        ),
        ([[0.0, np.inf]], (0, 1), "not finite in 1 of 1 images"),
        ([[0.0, np.nan]], None, "Images must be finite; received values that are not finite"),
        ([[0, 255]], (0, 1), r"must lie in \[0, 1\]; received values from 0 to 255; scale them"),
        ([[-1.0, 1.0]], (0, 1), "received values from -1 to 1"),
        ([[-2.0, 1.0]], (-1, 1), r"must lie in \[-1, 1\]"),
        (np.zeros((0, 3)), (0, 1), r"at least one image; received float64 \(0, 3\)"),
        ([0.5], (0, 1), r"received float64 \(1,\)"),
        ([["a"]], (0, 1), "must be numbers"),
    ],
)
def test_other_images_are_refused(images, bounds, message):
    with pytest.raises(ValueError, match=message) as raised:
        validation.checked_images(images, bounds)
    assert "\n" not in str(raised.value)


def test_half_precision_is_a_numeric_type():
    half = ops.cast(ops.convert_to_tensor([[0.0, 1.0]]), "bfloat16")
    assert validation.checked_images(half).tolist() == [[0, 1]]
    assert validation.class_labels(half).tolist() == [1]


def test_any_finite_values_pass_without_bounds():
    assert validation.checked_images([[-7.0, 9.0]], None).tolist() == [[-7, 9]]


@pytest.mark.parametrize("images, labels", [(0, 0), (3, 2), (0, 2)])
def test_one_label_each(images, labels):
    message = f"one label each; received {images} images and {labels} labels"
    with pytest.raises(ValueError, match=message):
        validation.images_and_labels(np.zeros((images, 2)), np.zeros(labels))


@pytest.mark.parametrize("value", [2.5, 2.0, None, True, "3", [3], np.nan, np.ones(1, int)])
def test_what_is_no_whole_number(value):
    with pytest.raises(ValueError, match="steps must be a whole number, at least 1; received"):
        validation.whole_number("steps", value)


@pytest.mark.parametrize("value", [0, -1, np.int64(0)])
def test_what_is_too_small(value):
    with pytest.raises(ValueError, match=f"steps must be at least 1; received {value}"):
        validation.whole_number("steps", value)


@pytest.mark.parametrize("seed", [-1, None, 1.5, [], [1, -1], "7", True, [[1]]])
def test_what_is_no_seed(seed):
    message = "seed must be (a whole number, )?at least 0; received"
    with pytest.raises(ValueError, match=message):
        validation.checked_seed(seed)


def test_seeds_and_numbers_come_as_they_are():
    assert validation.checked_seed(np.int64(3)) == 3
    assert validation.checked_seed(np.array([3, 2**40])) == [3, 2**40]
    assert validation.whole_number("rows", np.uint8(0), 0) == 0


@pytest.mark.parametrize("value", ["medium", None, 3, ["soft"], ("soft", "hard")])
def test_what_is_none_of_the_choices(value):
    with pytest.raises(ValueError) as caught:
        validation.one_of("reset", value, iter(("soft", "hard")))
    assert str(caught.value) == f"reset must be one of soft, hard; received {value!r}."
    with pytest.raises(ValueError, match="; received 3; set --reset.$"):
        validation.one_of("reset", 3, {"soft": 1}, "set --reset")
