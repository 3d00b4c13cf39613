"""The file format of training states: every dtype, other readers, the former format."""

import dataclasses
import hashlib
import json
import re
import struct

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_dep.training import checkpoint
from keras_dep.training import state_file

ARRAYS = {
    "bfloat16": np.array([1.5, np.nan, -np.inf], ml_dtypes.bfloat16),
    "float8_e4m3fn": np.array([0.5, 448], ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.array([[-2.0]], ml_dtypes.float8_e5m2),
    "float16": np.array([65504, -0.0], "float16"),
    "float32": np.array([np.nextafter(np.float32(0), np.float32(1)), np.nan], "float32"),
    "float64": np.array([[np.pi], [np.nan]]),
    "int8": np.array([-128], "int8"),
    "int16": np.array([-(2**15)], "int16"),
    "int32": np.array([-(2**31)], "int32"),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "uint8": np.array([255], "uint8"),
    "uint16": np.array([2**16 - 1], "uint16"),
    "uint32": np.array([2**32 - 1, 0], "uint32"),
    "uint64": np.array([2**64 - 1], "uint64"),
    "bool": np.array([True, False]),
    "scalar": np.array(7, "int64"),
    "bfloat16 scalar": np.array(0.5, ml_dtypes.bfloat16),
    "empty": np.zeros((3, 0, 2), "float32"),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}
VARIABLES = {f"model/{index}/{name}": array for index, (name, array) in enumerate(ARRAYS.items())}
STATE = state_file.State(
    VARIABLES,
    "SGD",
    3,
    12,
    True,
    {"clock": {"epochs": [0.5, None]}},
    {"loss": [0.1, float("inf")]},
    {"sha256": "0" * 64, "name": 'quoted "sha256":"' + "f" * 64 + '"'},
)


def bits(state):
    variables = state.variables
    return [(name, a.shape, a.dtype.name, a.tobytes()) for name, a in variables.items()]


def facts(state):
    return {**vars(state), "variables": None}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state")


def test_every_dtype_and_fact_comes_back(path):
    state_file.save(path, STATE)
    found = state_file.newest(path)
    assert bits(found) == bits(STATE)
    assert facts(found) == facts(STATE)


def test_other_readers_of_safetensors_open_it(path):
    readable = {name: a for name, a in VARIABLES.items() if "float8" not in name}
    state_file.save(path, dataclasses.replace(STATE, variables=readable))
    with safetensors.safe_open(f"{path}.1", "np") as file:
        assert set(file.keys()) == set(readable)
        for name, array in readable.items():
            assert file.get_tensor(name).tobytes() == array.tobytes()
        metadata = file.metadata()
    assert metadata["format"] == state_file.FORMAT
    assert json.loads(metadata["state"])["iterations"] == 12


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(path):
    state_file.save(path, STATE)
    with open(f"{path}.1", "rb") as file:
        content = file.read()
    (digest,) = set(re.findall(rb'(?<!\\)"sha256":"([0-9a-f]{64})"', content))
    assert hashlib.sha256(content.replace(digest, b"0" * 64)).hexdigest().encode() == digest


def test_a_state_without_variables(path):
    state_file.save(path, dataclasses.replace(STATE, variables={}))
    assert state_file.newest(path).variables == {}


def test_the_former_format_is_read(path):
    order = [
        {"of": "model", "path": name, "shape": a.shape, "dtype": a.dtype.name}
        for name, a in ARRAYS.items()
    ]
    header = {**facts(STATE), "fingerprint": "0", "variables": order}
    text = json.dumps(header).encode()
    body = struct.pack("<8sQ", b"KDEPRUN1", len(text)) + text
    body += b"".join(array.tobytes() for array in ARRAYS.values())
    with open(f"{path}.1", "wb") as file:
        file.write(body + hashlib.sha256(body).digest())
    found = state_file.newest(path)
    assert bits(found) == bits(STATE) and facts(found) == facts(STATE)
    with open(f"{path}.1", "wb") as file:
        file.write(body[:-1] + b"x" + hashlib.sha256(body).digest())
    with pytest.raises(ValueError, match="checksum"):
        state_file.newest(path)


def test_another_format_is_refused(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(state_file, "FORMAT", "keras_dep training state 9")
        state_file.save(path, STATE)
    with pytest.raises(
        ValueError, match="state 2'; received 'keras_dep training state 9'"
    ) as error:
        state_file.newest(path)
    assert "\n" not in str(error.value)
    safetensors.numpy.save_file({"x": np.ones(1)}, f"{path}.1")
    with pytest.raises(ValueError, match="it has no checksum"):
        state_file.newest(path)


def test_variables_of_model_and_optimizer_are_named_in_order():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(inputs))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    names = list(checkpoint.snapshot(model))
    assert names[:2] == ["model/0/logits/kernel", "model/1/logits/bias"]
    assert [name.split("/")[:2] for name in names[2:]] == [
        ["optimizer", str(index)] for index in range(2, len(names))
    ]
    assert len(names) == len(model.variables) + len(model.optimizer.variables)
