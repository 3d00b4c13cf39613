"""The files of evaluations and checklists: their schemas, and keys of earlier revisions."""

import os

from keras_dep import distribution
from keras_dep._internal.resumable import MEND
from keras_dep._internal.resumable import ResumableFile
from keras_dep._internal.types import Record

# An attack that ran only on the images left by others has neither accuracy nor interval.
PROPORTION: Record = {"accuracy": float, "interval": [float], "correct": int, "images": int}
ATTACK: Record = {
    "attack": str,
    "counts": bool,
    "attacked": int,
    "broken": int,
    "largest_change": float,
    "seconds": float,
    "non_finite_answers": int,
}
RUNNING: Record = {**ATTACK, "targets": [int]}
DONE: Record = {
    **ATTACK,
    "accuracy": float | None,
    "interval": ([float], type(None)),
    "standing": int,
}
EVALUATION: Record = {
    "finished": bool,
    "protocol": {"attacks": {str: dict}},
    "clean": {**PROPORTION, "non_finite_answers": int},
    "broken_by": [str | None],
    "left_out": [{"attacks": [str], "reason": str}],
    "attacks": [(RUNNING, DONE)],
}
FINISHED: Record = {
    **EVALUATION,
    "attacks": [DONE],
    "worst_case": PROPORTION,
    "gradients": {"zero_pixels": float, "zero_images": float, "non_finite_images": int},
}
EVIDENCE: Record = {
    "what": str,
    "count": int,
    "of": int,
    "interval": [float],
    "p_value": float,
}
CHECK: Record = {
    "number": int,
    "name": str,
    "criterion": str,
    "measured": dict,
    "evidence": [EVIDENCE],
    "facts": bool | None,
}
CHECKLIST: Record = {"protocol": dict, "checks": [CHECK]}

Path = str | os.PathLike[str] | None


class EvaluationFile(ResumableFile):
    """The file of an evaluation; its indices and intervals are checked too."""

    def read(self, protocol: Record) -> Record | None:
        """Returns the record to continue, see `ResumableFile.read`."""
        record = super().read(protocol)
        if record is not None:
            _check_images(self.path, record)
        return record


def evaluation(path: Path) -> EvaluationFile:
    """Returns the file of `evaluate`."""
    return EvaluationFile(
        path=path,
        what="an evaluation",
        schema=EVALUATION,
        finished_schema=FINISHED,
        used=distribution.workers().chief,
    )


def checklist(path: Path) -> ResumableFile:
    """Returns the file of `checklist`; one of an earlier revision is read too."""
    return ResumableFile(
        path=path,
        what="a checklist",
        schema=CHECKLIST,
        migrated=_renamed,
        used=distribution.workers().chief,
    )


def _renamed(record):
    """Returns a checklist with the keys of today: `rows` and `sign` became `checks` and `name`."""
    if not isinstance(record, dict) or not isinstance(record.get("rows"), list):
        return record
    checks = [
        {"name" if key == "sign" else key: value for key, value in each.items()}
        if isinstance(each, dict)
        else each
        for each in record["rows"]
    ]
    return {**{key: value for key, value in record.items() if key != "rows"}, "checks": checks}


def _check_images(path, record):
    """Raises `ValueError` unless every index and interval of a record is one."""
    images, found = record["clean"]["images"], record["attacks"]
    measured = [record["clean"], *found, record.get("worst_case", {})]
    intervals = [each["interval"] for each in measured if each.get("interval") is not None]
    targets = [index for each in found for index in each.get("targets", ())]
    if (
        len(record["broken_by"]) != images
        or any(len(interval) != 2 for interval in intervals)
        or any(not 0 <= index < images for index in targets)
    ):
        raise ValueError(f"{path} is damaged, its counts do not fit its images; {MEND}.")
