"""What `DEP.summary` prints."""

import pathlib
import re

import keras
import pytest
from keras import layers

from keras_dep import DEP


def printed(optimizer):
    texts = []
    optimizer.summary(print_fn=texts.append)
    (text,) = texts
    return [line.split() for line in text.splitlines()]


def test_a_line_for_every_weight_with_shape_matrix_and_reason():
    inputs = keras.Input((4, 6))
    x = layers.MultiHeadAttention(3, 4, use_bias=False, name="attention")(inputs, inputs)
    x = layers.Dense(5, name="head")(layers.LayerNormalization(name="norm")(x))
    model = keras.Model(inputs, layers.Dense(2, use_bias=False, name="last")(x))
    optimizer = DEP("sgd", exclude="head/kernel")
    with pytest.warns(UserWarning, match="DEP does not project last/kernel"):
        optimizer.build(model.trainable_variables)
    heading, rule, *rows = printed(optimizer)
    assert heading == ["weight", "shape", "projected", "matrix", "why"]
    assert set("".join(rule)) == {"-"}
    assert [row[0] for row in rows] == [weight.path for weight in model.trainable_variables]
    lines = {row[0]: " ".join(row[1:]) for row in rows}
    assert lines == {
        "attention/query/kernel": "6 x 3 x 4 yes 6 x 12 kernel of EinsumDense",
        "attention/key/kernel": "6 x 3 x 4 yes 6 x 12 kernel of EinsumDense",
        "attention/value/kernel": "6 x 3 x 4 yes 6 x 12 kernel of EinsumDense",
        "attention/attention_output/kernel": "3 x 4 x 6 yes 12 x 6 kernel of EinsumDense",
        "norm/gamma": "6 no - gain of LayerNormalization",
        "norm/beta": "6 no - bias of LayerNormalization",
        "head/kernel": "6 x 5 no - excluded by 'head/kernel'",
        "head/bias": "5 no - bias of Dense",
        "last/kernel": "5 x 2 no - kernel of Dense, with a side of 1 or 2",
    }


def test_reasons_that_come_without_a_layer_of_keras():
    class Own(layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(4, 5), name="matrix")
            self.mixer = self.add_weight(shape=(4, 5, 3), name="mixer")
            self.number = self.add_weight(shape=(), name="number")

    layer = Own(name="own")
    layer.build(())
    optimizer = DEP("sgd", output_axes={"mixer": (0, 1)})
    optimizer.build([*layer.trainable_weights, keras.Variable([1.0, 2.0], name="bare")])
    lines = [" ".join(row[1:]) for row in printed(optimizer)[2:]]
    assert lines == [
        "4 x 5 yes 4 x 5 weight of Own: by its shape",
        "4 x 5 x 3 yes 3 x 20 output_axes=(0, 1)",
        "scalar no - weight of Own: a scalar",
        "2 no - weight of no layer: a vector",
    ]


def test_only_a_built_optimizer_knows_its_weights():
    with pytest.raises(ValueError, match=r"summary\(\) needs a built optimizer.*build"):
        DEP("sgd").summary()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="elsewhere drawing weights compiles")
def test_the_page_of_the_documentation_shows_what_is_printed(capsys):
    page = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "optimizer-summary.md"
    text = page.read_text()
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for code, shown in examples:
        keras.utils.clear_session()
        exec(code, {})
        said = capsys.readouterr().out
        first, _, last = shown.partition("...\n")
        assert said.startswith(first) and said.endswith(last)
