"""A JSON file in which a long measurement stores results, and from which it resumes."""

import dataclasses
import os
from collections.abc import Callable

from keras_dep._internal import fingerprint
from keras_dep._internal import records
from keras_dep._internal.types import Record

MEND = "choose another file"


def _unchanged(record: Record) -> Record:
    return record


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResumableFile:
    """A record in a file; its `protocol` describes the measurement.

    Args:
        path: the file, or `None` to store nothing.
        what: the kind of record, for messages, for example `"an evaluation"`.
        schema: schema of a record, see `records.read`.
        finished_schema: the same of a record whose `finished` is true, or `None` where records are
            never marked as finished.
        migrated: turns a record of an earlier revision into one of today.
        used: whether this process reads and writes the file: `False` on workers other than the
            chief.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/found.json"
    >>> file = ResumableFile(path=path, what="a count", schema={"protocol": dict, "count": int})
    >>> file.read({"seed": 0}) is None
    True
    >>> file.write({"protocol": {"seed": 0}, "count": 3})
    >>> file.read({"seed": 0})["count"]
    3
    """

    path: str | os.PathLike[str] | None
    what: str
    schema: Record
    finished_schema: Record | None = None
    migrated: Callable[[Record], Record] = _unchanged
    used: bool = True

    def read(self, protocol: Record) -> Record | None:
        """Returns the record to continue.

        Args:
            protocol: description of the requested measurement, a dictionary of plain values.

        Returns:
            The record, or `None` where there is no file.

        Raises:
            ValueError: a damaged file, or one of another measurement; one line with the file.
        """
        if self.path is None or not self.used or not os.path.exists(self.path):
            return None
        mend = f"it is not {self.what}; {MEND}"
        first: Record = {} if self.finished_schema is None else {"finished": bool}
        record = self.migrated(records.read(self.path, first, mend))
        finished = self.finished_schema if record.get("finished") else None
        records.check(self.path, record, finished or self.schema, mend)
        wanted = records.plain(protocol)
        fingerprint.refuse_other(self.path, self.what, record["protocol"], wanted, MEND)
        return record

    def write(self, record: Record) -> None:
        """Writes a record, atomically."""
        if self.path is not None and self.used:
            records.write(self.path, record)
