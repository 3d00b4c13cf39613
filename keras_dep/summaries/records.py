"""Builds the messages of an event file with tensorboardX."""

import struct
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dep._backend import aside
from keras_dep._internal.types import Array

# tensorboardX imports torch where it is installed.
with aside.absent(*aside.FRAMEWORKS):
    from tensorboardX import summary
    from tensorboardX.proto import api_pb2
    from tensorboardX.proto import event_pb2
    from tensorboardX.proto import plugin_hparams_pb2
    from tensorboardX.proto import summary_pb2
    from tensorboardX.proto import tensor_pb2
    from tensorboardX.proto import tensor_shape_pb2
    from tensorboardX.record_writer import masked_crc32c

HPARAMS = "hparams"


def header() -> list[dict[str, Any]]:
    """Returns the first event of a file."""
    return [{"file_version": "brain.Event:2"}]


def restart() -> list[dict[str, Any]]:
    """Returns events at whose step and later readers drop the records of earlier files."""
    start = {"session_log": event_pb2.SessionLog(status=event_pb2.SessionLog.START)}
    # Readers treat the first START of a folder as its beginning, so that one alone purges nothing.
    return [start, start]


def scalar(tag: str, number: float) -> list[dict[str, Any]]:
    """Returns one number; tensorboardX' `scalar` changes tags such as `a/+0.5`, and logs NaN."""
    return [_summary(tag=tag, simple_value=number)]


def images(tag: str, pixels: Array) -> list[dict[str, Any]]:
    """Returns images `uint8` `(N, H, W, C)` as one tag; tensorboardX' `image` takes one each."""
    # `make_image` takes three channels.
    colours = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    pngs = [summary.make_image(each).encoded_image_string for each in colours]
    size = [str(pixels.shape[2]).encode(), str(pixels.shape[1]).encode()]
    return [_strings(tag, "images", [*size, *pngs], [len(pngs) + 2])]


def text(tag: str, markdown: str) -> list[dict[str, Any]]:
    """Returns text as a scalar string; tensorboardX' `text` makes a vector, shown as a table."""
    return [_strings(tag, "text", [markdown.encode()], [])]


def layout(categories: Mapping[str, Mapping[str, Sequence[str]]]) -> list[dict[str, Any]]:
    """Returns the charts of the Custom Scalars tab; see `EventWriter.layout`."""
    charts = {
        category: {title: ["Multiline", list(tags)] for title, tags in of_category.items()}
        for category, of_category in categories.items()
    }
    return [{"summary": summary.custom_scalars(charts)}]


def session_start(
    values: Mapping[str, bool | float | str], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns the columns and the row of a run in the HParams tab."""
    experiment, start, _ = summary.hparams(dict(values), dict.fromkeys(metrics))
    return [{"summary": experiment}, {"summary": start}]


def session_end(status: str) -> list[dict[str, Any]]:
    """Returns the end of a run in the HParams tab; tensorboardX writes success at the start."""
    number = api_pb2.Status.Value(f"STATUS_{status.upper()}")
    end = plugin_hparams_pb2.SessionEndInfo(status=number)
    content = plugin_hparams_pb2.HParamsPluginData(session_end_info=end)
    metadata = _metadata(HPARAMS, content.SerializeToString())
    return [_summary(tag="_hparams_/session_end_info", metadata=metadata)]


def framed(step: int, content: dict[str, Any]) -> bytes:
    """Returns an event as a record of the file: its length and content, each with a checksum."""
    event = event_pb2.Event(wall_time=time.time(), step=step, **content)
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + checksums[0] + data + checksums[1]


def _strings(
    tag: str, plugin: str, strings: Sequence[bytes], shape: Sequence[int]
) -> dict[str, Any]:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    tensor = tensor_pb2.TensorProto(
        dtype="DT_STRING",
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims),
        string_val=strings,
    )
    return _summary(tag=tag, metadata=_metadata(plugin), tensor=tensor)


def _metadata(plugin: str, content: bytes = b"") -> Any:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return summary_pb2.SummaryMetadata(plugin_data=data)


def _summary(**value: Any) -> dict[str, Any]:
    return {"summary": summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)])}
