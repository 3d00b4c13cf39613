"""The parts of the `tensorboard` package that write and read event files."""

import importlib
import types

# None of these imports TensorFlow.
_PARTS = {
    "events": "compat.proto.event_pb2",
    "tensors": "compat.proto.tensor_pb2",
    "errors": "compat.tensorflow_stub.errors",
    "reader": "compat.tensorflow_stub.pywrap_tensorflow",
    "writer": "summary.writer.record_writer",
    "arrays": "util.tensor_util",
    "scalar": "plugins.scalar.metadata",
    "image": "plugins.image.metadata",
    "text": "plugins.text.metadata",
    "hparams": "plugins.hparams.metadata",
    "hparams_data": "plugins.hparams.plugin_data_pb2",
    "hparams_api": "plugins.hparams.api_pb2",
}


def load():
    """Those parts by name; raises `ImportError` that says what to install."""
    try:
        loaded = {name: importlib.import_module(f"tensorboard.{_PARTS[name]}") for name in _PARTS}
    except ImportError as error:
        raise ImportError(
            f"event files need the tensorboard package ({error}); run pip install tensorboard"
        ) from error
    return types.SimpleNamespace(**loaded)
