"""Images decoded by Pillow, and text."""

import io

import numpy as np
import pytest
from keras import ops

from keras_dep.summaries import EventWriter
from tests.summaries.conftest import accumulate


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (3, 4, 6, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_png_decodes_to_the_image(tmp_path, shape, dtype):
    from PIL import Image
    from tensorboard.util import tensor_util

    images = np.random.default_rng(0).random(shape)
    images.flat[:2] = 0, 1
    given = ops.cast(images, dtype)
    with EventWriter(tmp_path) as writer:
        writer.image("images", given, 3)
    (event,) = accumulate(tmp_path).Tensors("images")
    width, height, *pngs = tensor_util.make_ndarray(event.tensor_proto)
    assert (event.step, int(width), int(height)) == (3, shape[-2], shape[-3])
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])
    given = ops.convert_to_numpy(ops.cast(given, "float32"))
    np.testing.assert_allclose(decoded.reshape(shape) / 255, given, rtol=0, atol=0.5 / 255 + 1e-6)


def test_number_of_images_is_capped(tmp_path):
    from tensorboard.util import tensor_util

    with EventWriter(tmp_path) as writer:
        writer.image("many", np.zeros((20, 2, 2, 1), "float32"), 0)
        writer.image("few", np.zeros((20, 2, 2, 1), "float32"), 0, max_images=2)
    reader = accumulate(tmp_path)
    counts = [
        len(tensor_util.make_ndarray(reader.Tensors(tag)[0].tensor_proto)) - 2
        for tag in ("many", "few")
    ]
    assert counts == [16, 2]


def test_text_is_read_back(tmp_path):
    from tensorboard.util import tensor_util

    with EventWriter(tmp_path) as writer:
        writer.text("notes", "**bold** é", 2)
    reader = accumulate(tmp_path)
    (event,) = reader.Tensors("notes")
    array = tensor_util.make_ndarray(event.tensor_proto)
    assert array.shape == () and array.item().decode() == "**bold** é"
    assert reader.SummaryMetadata("notes").plugin_data.plugin_name == "text"
