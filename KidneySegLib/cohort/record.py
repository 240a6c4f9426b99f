"""What became of each case, read from the output folder: its results folder, else a small file that says why not.

A case's truth stands in one place. A failure names the result that it came after (by hash), so that a failure file
that was left behind by a killed run is known to be older than the result beside it, whatever the clocks say.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.cohort.case_names import problem_of_name
from KidneySegLib.export.results_folder import PROVENANCE
from KidneySegLib.files import write_json
from KidneySegLib.measurement.table import COLUMNS, Row, cells

CASES, FAILURES = "cases", "failures"
DONE, FAILED = "done", "failed"
#: What the batch's table has beside the columns of single runs.
MORE_COLUMNS = ("status", "error", "input_sha256", "model_sha256")
#: Key of `provenance.json` under which a batch finds its own facts.
BATCH_FACTS = "batch"
_VOLUMES = "volumes.csv"
_THREADS = 16
_MAX_FILE_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class CaseRecord:
    """What became of one case.

    Attributes:
        case_id: its name.
        status: `DONE` or `FAILED`.
        rows: cells of its rows by column, as text; `MORE_COLUMNS` included.
        input_sha256: `CtScan.sha256`; empty if the scan was not read.
        key: `CaseJob.key` of a result; empty for a failure.
        stamp: `source_stamp` when the result's scan was read; empty if not known.
        provenance_sha256: hash of the result's ``provenance.json``; of a failure, the result that it came after.
        program_version: of the result; empty for a failure.
    """

    case_id: str
    status: str
    rows: tuple[Mapping[str, str], ...]
    input_sha256: str = ""
    key: str = ""
    stamp: str = ""
    provenance_sha256: str = ""
    program_version: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags of the case, each once."""
        keys = (key for row in self.rows for key in row.get("flags", "").split(";") if key)
        return tuple(dict.fromkeys(keys))

    @property
    def error(self) -> str:
        """Why it failed, one line; empty if it did not."""
        return self.rows[0].get("error", "") if self.rows else ""

    def row(self, side: str) -> Mapping[str, str] | None:
        """Cells of one side, or None."""
        return next((row for row in self.rows if row.get("side") == side), None)


def read_result(folder: Path, case_id: str) -> CaseRecord | None:
    """The record of a results folder; None if it is none, or was damaged by hand."""
    try:
        provenance = _small_file(folder / PROVENANCE)
        facts = json.loads(provenance)
        table = _small_file(folder / _VOLUMES).decode("utf-8-sig")
        input_sha256 = str(facts["input"]["sha256"])
        model = facts.get("model")
        model_sha256 = str(model.get("sha256") or "") if isinstance(model, dict) else ""
        lines = list(csv.DictReader(io.StringIO(table, newline="")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error):
        return None
    if not lines or "side" not in lines[0]:
        return None
    batch = facts.get(BATCH_FACTS)
    batch = batch if isinstance(batch, dict) else {}
    more = {"status": DONE, "error": "", "input_sha256": input_sha256, "model_sha256": model_sha256}
    return CaseRecord(
        case_id=case_id,
        status=DONE,
        rows=tuple({**{name: line.get(name) or "" for name in COLUMNS}, **more} for line in lines),
        input_sha256=input_sha256,
        key=str(batch.get("key", "")),
        stamp=str(batch.get("source_stamp", "")),
        provenance_sha256=hashlib.sha256(provenance).hexdigest(),
        program_version=str(facts.get("version", "")),
    )


def failed_record(
    case_id: str, error: str, *, input_sha256: str = "", model_sha256: str = "", after: str = ""
) -> CaseRecord:
    """A failed case: one row with side ``both``."""
    from KidneySegLib.measurement.table import text_cell

    more = {
        "status": FAILED,
        "error": text_cell(" ".join(error.split())),
        "input_sha256": input_sha256,
        "model_sha256": model_sha256,
    }
    row = {**dict.fromkeys(COLUMNS, ""), **_only_text(cells(Row(case_id, "both"))), **more}
    return CaseRecord(case_id, FAILED, (row,), input_sha256, provenance_sha256=after)


def _only_text(row: Mapping[str, str]) -> dict[str, str]:
    return {"case_id": row["case_id"], "side": row["side"]}


def write_failure(output: Path, record: CaseRecord, details: str = "") -> None:
    """Write a failure's file, whole or not at all. ``details`` is for whoever looks into it, such as a traceback.

    Raises:
        OSError: it could not be written.
    """
    row = record.rows[0]
    content = {
        "case_id": record.case_id,
        "error": row["error"],
        "input_sha256": row["input_sha256"],
        "model_sha256": row["model_sha256"],
        "after": record.provenance_sha256,
        "details": details,
    }
    write_json(output / FAILURES / f"{record.case_id}.json", content)


def read_failure(path: Path) -> CaseRecord | None:
    """The record of a failure's file; None if it is none."""
    try:
        content = json.loads(_small_file(path))
        values = {key: str(content[key]) for key in ("error", "input_sha256", "model_sha256", "after")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if values["error"].startswith("'"):
        values["error"] = values["error"][1:]
    return failed_record(path.stem, **values)


def remove_failure(output: Path, case_id: str) -> None:
    """The case has a result now."""
    with contextlib.suppress(FileNotFoundError):
        (output / FAILURES / f"{case_id}.json").unlink()


def read_records(output: Path) -> dict[str, CaseRecord]:
    """All cases of an output folder, one record each. What is no record of a case is passed over."""
    with ThreadPoolExecutor(_THREADS) as pool:
        folders = [path for path in _visible(output / CASES) if not problem_of_name(path.name)]
        results = pool.map(lambda path: read_result(path, path.name), folders)
        records = {record.case_id: record for record in results if record is not None}
        files = [path for path in _visible(output / FAILURES) if path.suffix == ".json"]
        for failure in pool.map(read_failure, files):
            if failure is None or problem_of_name(failure.case_id):
                continue
            result = records.get(failure.case_id)
            if result is None or result.provenance_sha256 == failure.provenance_sha256:
                records[failure.case_id] = failure
    return records


def _visible(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _small_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"{path} is longer than {_MAX_FILE_BYTES} bytes")
    return content
