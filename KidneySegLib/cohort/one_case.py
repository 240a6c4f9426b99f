"""One case of a batch, wherever it runs: in a child process of this machine or on a worker of a cluster."""

from __future__ import annotations

import errno
import json
import os
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.cohort.record import BATCH_FACTS, CaseRecord, read_result
from KidneySegLib.cohort.settings import BatchSettings, CaseJob
from KidneySegLib.cohort.stamp import source_stamp
from KidneySegLib.errors import Cancelled, KidneySegError, ModelError, OutputError
from KidneySegLib.files import json_text, write_whole
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from KidneySegLib.inference.engine import Engine, EngineResult

#: What an `Outcome` may be: segmented; the result that was there will do; failed.
MADE, UNCHANGED, FAILED = "made", "unchanged", "failed"
#: Kinds of failure that are not the case's own: memory ran out; no result can be written any more (disk full, no
#: permission).
MEMORY, NO_ROOM = "memory", "no_room"
_NO_ROOM = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}

# Reading is the one part that redirects streams and warnings of the whole process.
_reading = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What one attempt at a case gave; it travels as JSON.

    Attributes:
        case_id: its name.
        what: `MADE`, `UNCHANGED` or `FAILED`.
        record: fields of `CaseRecord` of the result; empty for a failure.
        error: why it failed.
        kind: `MEMORY`, `NO_ROOM` or empty.
        details: traceback of a bug.
        input_sha256: hash of the scan, if it was read.
    """

    case_id: str
    what: str
    record: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    kind: str = ""
    details: str = ""
    input_sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Outcome:
        known = {item.name for item in fields(Outcome)}
        return Outcome(**{key: value for key, value in content.items() if key in known})

    def case_record(self) -> CaseRecord:
        """The record of a result."""
        return CaseRecord(**{**self.record, "rows": tuple(self.record["rows"])})


class SharedEngine:
    """An engine that runs one case at a time, while other threads read the next scan or write the last result."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self.bundle = engine.bundle
        self.localiser = engine.localiser
        self.shown = engine.shown

    def run(self, image: Any, progress: Progress = Progress()) -> EngineResult:
        """As `Engine.run`, when it is this thread's turn."""
        while not self._turn.acquire(timeout=0.5):
            progress.check()
        try:
            return self._engine.run(image, progress)
        finally:
            self._turn.release()


class EngineShelf:
    """The engine of the settings that were asked for last; loaded once, shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: SharedEngine | None = None
        self._settings: BatchSettings | None = None

    def engine(self, settings: BatchSettings) -> SharedEngine:
        """The engine for these settings.

        Raises:
            ModelError: no such model here, or another one than the batch was started with.
            DeviceError: no such device here.
        """
        from KidneySegLib import pipeline

        with self._lock:
            if self._engine is None or self._settings != settings:
                self._engine = None
                engine = pipeline.load_engine(
                    settings.model,
                    device=settings.device,
                    precision=settings.precision,
                    mirror=settings.mirror,
                    use_localiser=settings.use_localiser,
                    find_lesions=settings.find_lesions,
                )
                if settings.model_sha256 not in ("", engine.bundle.digest):
                    raise ModelError(
                        f"The model {engine.bundle.name} on this computer is not the one that the batch was started "
                        "with. Import the same model on every computer, or put it where all see it (--model FOLDER)."
                    )
                self._engine, self._settings = SharedEngine(engine), settings
            return self._engine


def run_case(job: CaseJob, shelf: EngineShelf, progress: Progress = Progress()) -> Outcome:
    """Segment one case, or find that its result will do. Whatever goes wrong with it becomes a failed outcome.

    Raises:
        Cancelled: at the user's request; nothing was written.
    """
    from KidneySegLib.worker_parts.failures import is_out_of_memory

    seen = _Seen()
    try:
        return _run(job, shelf, progress, seen)
    except Cancelled:
        # Not this case's fault: its process ends, and another takes it up again.
        raise
    except KidneySegError as error:
        kind = MEMORY if is_out_of_memory(error) else NO_ROOM if _no_room(error, job) else ""
        there = _after_a_race(job) if isinstance(error, OutputError) else None
        return there or Outcome(job.case_id, FAILED, error=str(error), kind=kind, input_sha256=seen.input_sha256)
    # A bug met in one scan of thousands is that case's row, and the others go on.
    except Exception as error:
        if is_out_of_memory(error):
            text = "The computer ran out of memory. Use fewer --jobs, or crop the scan to the abdomen."
            return Outcome(job.case_id, FAILED, error=text, kind=MEMORY, input_sha256=seen.input_sha256)
        text = f"{type(error).__name__}: {error}. This is a fault in KidneySeg; please report it."
        details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        kind = NO_ROOM if _no_room(error, job) else ""
        return Outcome(job.case_id, FAILED, error=text, kind=kind, details=details, input_sha256=seen.input_sha256)


class _Seen:
    input_sha256 = ""


def _run(job: CaseJob, shelf: EngineShelf, progress: Progress, seen: _Seen) -> Outcome:
    from KidneySegLib import pipeline
    from KidneySegLib.ct import read_ct
    from KidneySegLib.measurement.clinical import Patient

    source, results = Path(job.source), Path(job.results)
    engine = shelf.engine(job.settings)
    # Before the scan is read, so that what changes meanwhile is seen next time.
    stamp = source_stamp(source)
    while not _reading.acquire(timeout=0.5):
        progress.check()
    try:
        scan = read_ct(source, series_uid=job.series_uid, progress=progress)
    finally:
        _reading.release()
    seen.input_sha256 = scan.sha256
    there = None if job.redo else read_result(results, job.case_id)
    if there is not None and there.key == job.key and there.input_sha256 == scan.sha256:
        return _outcome(UNCHANGED, _restamped(results, there, stamp))
    pipeline.segment_case(
        scan,
        results,
        mirror=job.settings.mirror,
        raw=job.settings.raw,
        case_id=job.case_id,
        patient=Patient(**{name: value for name, value in job.patient.items() if value is not None}),
        engine=engine,  # type: ignore[arg-type]
        more_facts={BATCH_FACTS: {"key": job.key, "source_stamp": stamp}},
        progress=progress,
    )
    record = read_result(results, job.case_id)
    if record is None:
        raise KidneySegError(f"The result in {results} could not be read again. Check the disk, and run again.")
    return _outcome(MADE, record)


def _outcome(what: str, record: CaseRecord) -> Outcome:
    plain = {item.name: getattr(record, item.name) for item in fields(record)}
    plain["rows"] = [dict(row) for row in record.rows]
    return Outcome(record.case_id, what, plain, input_sha256=record.input_sha256)


def _restamped(folder: Path, record: CaseRecord, stamp: str) -> CaseRecord:
    """Remember that files with this stamp hold the same scan, so that the next run need not read them."""
    path = folder / "provenance.json"
    try:
        facts = json.loads(path.read_bytes())
        facts[BATCH_FACTS]["source_stamp"] = stamp
        write_whole(path, json_text(facts).encode(), folder.parent)
    except OSError:
        return record  # only a convenience
    return read_result(folder, record.case_id) or record


def _after_a_race(job: CaseJob) -> Outcome | None:
    """The result, if another worker that was thought dead put it there while this one could not put its own."""
    record = None if job.redo else read_result(Path(job.results), job.case_id)
    if record is None or record.key != job.key or record.stamp != source_stamp(Path(job.source)):
        return None
    return _outcome(MADE, record)


def _no_room(reason: BaseException, job: CaseJob) -> bool:
    """Whether no case can be written any more, so that to go on would only make more failures."""
    error: BaseException | None = reason
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return isinstance(reason, OutputError) and not os.access(Path(job.results).parent, os.W_OK | os.X_OK)
