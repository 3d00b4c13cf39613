"""What an evaluation or a checklist has left in its file, checked before it is gone on with."""

import os

from keras_dep._internal import fingerprint
from keras_dep._internal import records

OTHER = "choose another file"
# Interval and accuracy of an attack that saw only what others left standing are none.
PROPORTION = {"accuracy": float, "interval": [float], "correct": int, "images": int}
ROW = {"attack": str, "counts": bool, "attacked": int, "broken": int, "largest_change": float,
       "seconds": float,
       "non_finite_answers": int}  # fmt: skip
OPEN_ROW = {**ROW, "targets": [int]}
CLOSED_ROW = {
    **ROW, "accuracy": float | None, "interval": ([float], type(None)), "standing": int,
}  # fmt: skip
EVALUATION = {
    "finished": bool,
    "protocol": {"attacks": {str: dict}},
    "clean": {**PROPORTION, "non_finite_answers": int},
    "broken_by": [str | None],
    "left_out": [{"attacks": [str], "reason": str}],
    "attacks": [(OPEN_ROW, CLOSED_ROW)],
}
FINISHED = {
    **EVALUATION,
    "attacks": [CLOSED_ROW],
    "worst_case": PROPORTION,
    "gradients": {"zero_pixels": float, "zero_images": float, "non_finite_images": int},
}
EVIDENCE = {"what": str, "count": int, "of": int, "interval": [float], "p_value": float}
CHECKLIST = {
    "protocol": dict,
    "rows": [
        {
            "number": int, "sign": str, "criterion": str, "measured": dict, "evidence": [EVIDENCE],
            "facts": bool | None,
        }
    ],
}  # fmt: skip


def evaluation(file, protocol):
    """The record of `evaluate` in a file.

    Args:
        file: its path, or `None`.
        protocol: what decides the evaluation that is asked for, a dictionary of plain values.

    Returns:
        The dictionary, or `None` where there is no file.

    Raises:
        ValueError: a damaged file, or one of another evaluation; one line with the file.
    """
    record = _read(file, "an evaluation", protocol, {"finished": bool}, EVALUATION, FINISHED)
    if record is not None:
        _check_images(file, record)
    return record


def checklist(file, protocol):
    """The record of `checklist` in a file; arguments and result as in `evaluation`."""
    return _read(file, "a checklist", protocol, {}, CHECKLIST, CHECKLIST)


def _read(file, what, protocol, first, unfinished, finished):
    if file is None or not os.path.exists(file):
        return None
    mend = f"it is not {what}; {OTHER}"
    is_finished = records.read(file, first, mend).get("finished")
    record = records.read(file, finished if is_finished else unfinished, mend)
    fingerprint.refuse_other(file, what, record["protocol"], records.plain(protocol), OTHER)
    return record


def _check_images(file, record):
    """Every index and interval of a record must be one."""
    images, rows = record["clean"]["images"], record["attacks"]
    found = [record["clean"], *rows, record.get("worst_case", {})]
    intervals = [each["interval"] for each in found if each.get("interval") is not None]
    targets = [index for row in rows for index in row.get("targets", ())]
    if (
        len(record["broken_by"]) != images
        or any(len(interval) != 2 for interval in intervals)
        or any(not 0 <= index < images for index in targets)
    ):
        raise ValueError(f"{file} is damaged, its counts do not fit its images; {OTHER}.")
