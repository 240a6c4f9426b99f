"""The batch's ``volumes.csv``: made from the cases' records, written as a whole as cases finish."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from KidneySegLib.cohort.record import MORE_COLUMNS, CaseRecord
from KidneySegLib.files import plain_write_errors, write_whole
from KidneySegLib.measurement.table import COLUMNS

VOLUMES = "volumes.csv"
#: What to do when a batch finds no room, or may not write.
CASES_KEPT = "Finished cases are kept: free some space or mend the permissions, and run the same command again."
#: Columns of the batch's table.
BATCH_COLUMNS = (*COLUMNS, *MORE_COLUMNS)
#: While cases finish, writing the table may take this share of the time.
_SHARE = 0.02


def table_text(records: Iterable[CaseRecord]) -> str:
    """The text of the table: comma separated, one header line, lines end with a line feed."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, BATCH_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerows(record.rows)
    return text.getvalue()


class TableFile:
    """``OUT/volumes.csv``, in step with the records.

    The file is always whole: a new one takes the old one's place. In a large cohort it is not written for every case,
    but as often as costs next to nothing; whatever is killed, the next run makes it from the records.

    Args:
        output: the batch's folder.
        order: case ids in the order of the cohort; other cases follow by name.
    """

    def __init__(self, output: Path, order: Sequence[str]) -> None:
        self._path = output / VOLUMES
        self._order = {case_id: index for index, case_id in enumerate(order)}
        self._next_s = 0.0

    def in_order(self, records: Mapping[str, CaseRecord]) -> list[CaseRecord]:
        """Records as their rows stand in the table."""
        last = len(self._order)
        return [records[key] for key in sorted(records, key=lambda key: (self._order.get(key, last), key))]

    def cases_finished(self, records: Mapping[str, CaseRecord]) -> None:
        """Write the table, unless that was done a moment ago.

        Raises:
            OutputError: it could not be written; the old one is still there.
        """
        if time.monotonic() >= self._next_s:
            self.write(records)

    def write(self, records: Mapping[str, CaseRecord]) -> None:
        """Write the table now. Raises `OutputError` as `cases_finished`."""
        begin_s = time.monotonic()
        with plain_write_errors(f"{self._path} could not be written", CASES_KEPT):
            write_whole(self._path, table_text(self.in_order(records)).encode("utf-8", "replace"))
        now_s = time.monotonic()
        self._next_s = now_s + (now_s - begin_s) / _SHARE
