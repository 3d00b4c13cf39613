"""Images decoded by Pillow, and text."""

import io

import numpy as np
import pytest
from keras import ops

from keras_dep.summaries import EventWriter
from tests.support.event_files import accumulate
from tests.support.event_files import plugin
from tests.support.event_files import tensors


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (3, 4, 6, 3), (3, 4, 6, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_png_decodes_to_the_image(tmp_path, shape, dtype):
    from PIL import Image

    images = np.random.default_rng(0).random(shape)
    images.flat[:2] = 0, 1
    given = ops.cast(images, dtype)
    with EventWriter(tmp_path) as writer:
        writer.image("images", given, 3)
    reader = accumulate(tmp_path)
    [(step, (width, height, *pngs))] = tensors(reader, "images")
    assert (step, int(width), int(height)) == (3, shape[-2], shape[-3])
    assert plugin(reader, "images") == "images"
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])
    given = ops.convert_to_numpy(ops.cast(given, "float32")).reshape(-1, *shape[-3:])
    # Grey images have three equal channels.
    given = np.broadcast_to(given, (*given.shape[:3], 3))
    np.testing.assert_allclose(decoded / 255, given, rtol=0, atol=0.5 / 255 + 1e-6)


def test_number_of_images_is_capped(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.image("many", np.zeros((20, 2, 2, 1), "float32"), 0)
        writer.image("few", np.zeros((20, 2, 2, 1), "float32"), 0, max_images=2)
    reader = accumulate(tmp_path)
    assert [len(tensors(reader, tag)[0][1]) - 2 for tag in ("many", "few")] == [16, 2]


def test_text_is_read_back(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.text("notes", "**bold** é", 2)
    reader = accumulate(tmp_path)
    [(step, array)] = tensors(reader, "notes")
    assert step == 2 and array.shape == () and array.item().decode() == "**bold** é"
    assert plugin(reader, "notes") == "text"
