"""FrequencyEncoding against NumPy's transforms."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.layers import FrequencyEncoding
from keras_dep.layers import frequency_encoding
from tests.support import native

RADII, SHAPE = (3, 2, 0), (2, 8, 7, 2)
KINDS = list(itertools.product(frequency_encoding.MASKS, frequency_encoding.PARTS))
IMAGES = np.random.default_rng(0).random(SHAPE).astype("float32")


def frames(images, mask, part):
    """In float64, `(T * batch, height, width, channels)`."""
    found = []
    for radius in RADII:
        spectrum = np.fft.fftshift(np.fft.fft2(images, axes=(1, 2)), axes=(1, 2))
        kept = []
        for size in images.shape[1:3]:
            m = np.arange(size) - size // 2
            kept.append(abs(m) <= radius if mask == "symmetric" else (-radius <= m) & (m < radius))
        spectrum = spectrum * np.outer(*kept)[:, :, None]
        frame = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(1, 2)), axes=(1, 2))
        found.append(frame.real if part == "real" else abs(frame))
    return np.concatenate(found)


def test_frames_and_gradient():
    inputs = keras.Input(SHAPE[1:])
    layers = [FrequencyEncoding(3, RADII, mask, part) for mask, part in KINDS]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    weights = np.random.default_rng(1).normal(size=(len(KINDS), 3 * SHAPE[0], *SHAPE[1:]))
    for found, kind in zip(model.predict_on_batch(IMAGES), KINDS):
        np.testing.assert_allclose(found, frames(IMAGES, *kind), atol=2e-6)
    # Mostly dark, so that some pixels are negative when low-passed.
    x = IMAGES.astype("float64") ** 4

    def value(x):
        return sum(np.sum(w * frames(x, *kind)) for w, kind in zip(weights, KINDS))

    def objective(_, outputs):
        return sum(
            ops.sum(ops.cast(weight, "float32") * each) for weight, each in zip(weights, outputs)
        )

    gradient = native.input_gradient(model, objective)(
        ops.convert_to_tensor(x.astype("float32")), ops.zeros(1)
    )
    found, h = ops.convert_to_numpy(gradient), 1e-6
    for place in itertools.islice(np.ndindex(x.shape), 0, x.size, 9):
        ends = [x.copy(), x.copy()]
        ends[0][place] += h
        ends[1][place] -= h
        expected = (value(ends[0]) - value(ends[1])) / (2 * h)
        assert found[place] == pytest.approx(expected, rel=1e-3, abs=1e-3), place


def test_the_gradient_at_black_images_is_finite():
    layer = FrequencyEncoding(1, (2,), "half_open", "magnitude")
    model = keras.Sequential([keras.Input((4, 4, 1)), layer])
    gradient = native.input_gradient(model, lambda _, x: ops.sum(x))
    found = gradient(ops.zeros((1, 4, 4, 1)), ops.zeros(1))
    assert np.isfinite(ops.convert_to_numpy(found)).all()


def test_as_many_frequencies_pass_as_the_mask_holds():
    for size in range(1, 65):
        whole = np.arange(size) - size // 2
        for radius in {0, 1, size // 4, -(-size // 2)}:
            for mask, last in (("symmetric", radius), ("half_open", radius - 1)):
                trace = np.trace(frequency_encoding.low_pass(size, radius, mask)).real
                kept = np.sum((-radius <= whole) & (whole <= last))
                assert trace == pytest.approx(kept, abs=1e-9), (size, radius, mask)


def test_layouts_precisions_and_files(tmp_path):
    last = ops.convert_to_numpy(FrequencyEncoding(3, RADII)(IMAGES))
    first = FrequencyEncoding(3, RADII, data_format="channels_first")(np.moveaxis(IMAGES, 3, 1))
    np.testing.assert_allclose(np.moveaxis(ops.convert_to_numpy(first), 1, 3), last, atol=1e-6)
    half = FrequencyEncoding(3, RADII, dtype="mixed_bfloat16")(ops.cast(IMAGES, "bfloat16"))
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    # The rounding of the image and of the result, none between.
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(half, "float32")), last, atol=2**-7)
    model = keras.Sequential([keras.Input(SHAPE[1:]), FrequencyEncoding(3, RADII)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_on_batch(IMAGES), model.predict_on_batch(IMAGES))


def test_published_radii():
    assert frequency_encoding.usual_radii(32, 8) == (16, 14, 12, 10, 8, 6, 4, 2)
    assert frequency_encoding.usual_radii(64, 4) == (32, 30, 28, 26)
    layer = FrequencyEncoding(4)
    layer.build((None, 4, 4, 1))
    assert layer.present_radii == (2, 1, 1, 1) and layer.radii is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"radii": (1,)}, r"radii must be 2 numbers of at least 0.*received \(1,\)"),
        ({"radii": (1, -1)}, "radii must be 2 numbers of at least 0"),
        ({"radii": 3}, "radii must be 2 numbers of at least 0.*received 3"),
        ({"mask": "round"}, "mask must be one of symmetric, half_open; received 'round'"),
        ({"part": "phase"}, "part must be one of real, magnitude; received 'phase'"),
        ({"data_format": "last"}, "data_format must be one of channels_last, channels_first"),
    ],
)
def test_limits(options, message):
    with pytest.raises(ValueError, match=message):
        FrequencyEncoding(2, **options)


def test_limits_of_the_image():
    with pytest.raises(ValueError, match="at most half the side of the image, 4; received 5"):
        FrequencyEncoding(1, (5,)).build((None, 8, 9, 1))
    with pytest.raises(ValueError, match="must have inputs of known sizes"):
        FrequencyEncoding(1).build((None, None, 8, 1))
    with pytest.raises(ValueError, match=r"must have images \(batch, height, width, channels\)"):
        FrequencyEncoding(1).build((None, 8))
