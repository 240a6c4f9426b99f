"""``kidneyseg batch``: a cohort becomes results folders and one table. Stopped at any moment, it can be run again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from KidneySegLib.cohort.cases import CohortCase, find_cases
from KidneySegLib.cohort.lock import LOCK_NAME, OTHER_FOLDER, only_batch
from KidneySegLib.cohort.one_case import FAILED, MADE, NO_ROOM, Outcome
from KidneySegLib.cohort.record import (
    CASES,
    DONE,
    FAILURES,
    failed_record,
    read_records,
    remove_failure,
    write_failure,
)
from KidneySegLib.cohort.settings import BatchSettings, CaseJob
from KidneySegLib.cohort.stamp import source_stamp
from KidneySegLib.cohort.summary import SUMMARY, write_summary
from KidneySegLib.cohort.table import CASES_KEPT, TableFile
from KidneySegLib.cohort.throughput import BatchState, Counter
from KidneySegLib.errors import OutputError
from KidneySegLib.files import plain_write_errors, write_json
from KidneySegLib.progress import Progress

#: The file that makes a folder a batch's.
MARK = "batch.json"
FORMAT = "kidneyseg-batch"
_STAMP_THREADS = 16

Listener = Callable[[BatchState], None]


class Pool(Protocol):
    """Whoever does cases: `local.LocalPool` or `on_dask.DaskPool`."""

    @property
    def workers(self) -> int: ...

    def outcomes(self, jobs: Sequence[CaseJob]) -> Iterator[Outcome | None]: ...


@dataclass(frozen=True)
class BatchResult:
    """What a batch did.

    Attributes:
        output: its folder.
        state: the counts at its end.
        failures: reason of each case of the cohort that failed, by case id.
    """

    output: Path
    state: BatchState
    failures: Mapping[str, str]


def run_batch(
    cohort: Path,
    output: Path,
    settings: BatchSettings | None = None,
    *,
    scheduler: str | None = None,
    processes: int | None = None,
    recheck: bool = False,
    redo: bool = False,
    listener: Listener | None = None,
    progress: Progress = Progress(),
) -> BatchResult:
    """Segment every case of a cohort that has no valid result yet.

    Writes ``OUT/cases/CASE/`` (results folders), ``OUT/failures/CASE.json``, ``OUT/volumes.csv`` and
    ``OUT/summary.html``. A result is valid if its scan, model and options are the same; failures are tried again.
    Rows of cases that are no longer in the cohort stay.

    Args:
        cohort: a folder or a CSV, see `cases.find_cases`.
        output: the batch's folder: missing, empty, or that of an earlier batch.
        settings: how to segment; the hashes in it are filled in here. None: all defaults.
        scheduler: address of a Dask scheduler; None uses this computer.
        processes: child processes on this computer; None: as many as it does well with.
        recheck: read every scan again, even where its files look untouched.
        redo: segment every case again.
        listener: told how far it is.
        progress: asked whether to stop.

    Raises:
        KidneySegError: nothing could be started, or nothing can be written any more. A case's own failure is no
            error: it becomes a row.
        Cancelled: at the user's request; what was finished stays.
    """
    output = Path(output).expanduser()
    cases = find_cases(cohort, output)
    settings = _with_hashes(settings or BatchSettings(), progress)
    _make_folder(output)
    with only_batch(output):
        _mark(output)
        _clear_unfinished(output)
        batch = _Batch(output, cases, settings, recheck, redo)
        todo = batch.todo(progress)
        batch.begin(len(todo), listener)
        try:
            if todo:
                batch.do(_pool(settings, scheduler, processes, len(todo), progress), todo)
        finally:
            batch.end()
        return batch.result()


class _Batch:
    def __init__(
        self, output: Path, cases: Sequence[CohortCase], settings: BatchSettings, recheck: bool, redo: bool
    ) -> None:
        self._output, self._cases, self._settings = output, cases, settings
        self._recheck, self._redo = recheck, redo
        self._records = read_records(output)
        self._table = TableFile(output, [case.case_id for case in cases])

    def todo(self, progress: Progress) -> list[CaseJob]:
        """The cases that must be looked at."""
        jobs = [self._job(case) for case in self._cases]
        with ThreadPoolExecutor(_STAMP_THREADS) as pool:
            done = pool.map(self._is_done, jobs)
            left = []
            for job, is_done in zip(jobs, done, strict=True):
                progress.check()
                if not is_done:
                    left.append(job)
        return left

    def begin(self, todo: int, listener: Listener | None) -> None:
        self._listener = listener
        self._counter = Counter(len(self._cases), len(self._cases) - todo)
        self._table.write(self._records)
        self._tell(0)

    def do(self, pool: Pool, jobs: Sequence[CaseJob]) -> None:
        """Run jobs and keep records and table in step."""
        for outcome in pool.outcomes(jobs):
            if outcome is not None:
                self._take(outcome)
                self._table.cases_finished(self._records)
            self._tell(pool.workers)

    def end(self) -> None:
        """Leave table and summary as the records are."""
        self._table.write(self._records)
        with plain_write_errors(
            f"{self._output / SUMMARY} could not be written",
            "The table and the cases are there: free some space, and run the same command again.",
        ):
            write_summary(self._output, self._table.in_order(self._records), self._counter.state())

    def result(self) -> BatchResult:
        wanted = {case.case_id for case in self._cases}
        failures = {
            key: record.error for key, record in self._records.items() if key in wanted and record.status != DONE
        }
        return BatchResult(self._output, self._counter.state(), failures)

    def _job(self, case: CohortCase) -> CaseJob:
        # Workers may have another working directory.
        return CaseJob(
            case_id=case.case_id,
            source=str(case.source.absolute()),
            series_uid=case.series_uid,
            patient={name: value for name, value in asdict(case.patient).items() if value is not None},
            results=str((self._output / CASES / case.case_id).absolute()),
            settings=self._settings,
            recheck=self._recheck,
            redo=self._redo,
        )

    def _is_done(self, job: CaseJob) -> bool:
        record = self._records.get(job.case_id)
        if record is None or record.status != DONE or record.key != job.key or self._recheck or self._redo:
            return False
        return record.stamp != "" and record.stamp == source_stamp(Path(job.source))

    def _take(self, outcome: Outcome) -> None:
        case_id = outcome.case_id
        if outcome.what == FAILED:
            if outcome.kind == NO_ROOM:
                raise OutputError(
                    f"{outcome.error} The batch was stopped at {case_id}; finished cases are kept. Run the same "
                    "command again."
                )
            before = self._records.get(case_id)
            record = failed_record(
                case_id,
                outcome.error,
                input_sha256=outcome.input_sha256,
                model_sha256=self._settings.model_sha256,
                after=before.provenance_sha256 if before is not None else "",
            )
            with plain_write_errors(f"{self._output / FAILURES} could not be written", CASES_KEPT):
                write_failure(self._output, record, outcome.details)
            self._records[case_id] = record
            self._counter.failed(case_id)
            return
        self._records[case_id] = outcome.case_record()
        remove_failure(self._output, case_id)
        if outcome.what == MADE:
            self._counter.made(case_id)
        else:
            self._counter.skipped(case_id)

    def _tell(self, workers: int) -> None:
        if self._listener is not None:
            self._listener(self._counter.state(workers))


def _with_hashes(settings: BatchSettings, progress: Progress) -> BatchSettings:
    from KidneySegLib.models import DEFAULT_MODEL, find_bundle, find_localiser
    from KidneySegLib.resources import embedded_models_dir, user_models_dir

    bundle = find_bundle(settings.model or DEFAULT_MODEL, progress)
    localiser = find_localiser(bundle, progress) if settings.use_localiser else None
    # A relative path means nothing in a worker's working directory; the name of an installed model does.
    installed = bundle.path.resolve().parent in (user_models_dir().resolve(), embedded_models_dir().resolve())
    model = bundle.path.name if installed else str(bundle.path.absolute())
    return replace(
        settings,
        model=model,
        model_sha256=bundle.digest,
        localiser_sha256=localiser.digest if localiser is not None else None,
    )


def _pool(
    settings: BatchSettings, scheduler: str | None, processes: int | None, count: int, progress: Progress
) -> Pool:
    if scheduler is not None:
        from KidneySegLib.cohort.on_dask import DaskPool

        return DaskPool(scheduler, progress)
    from KidneySegLib.cohort.local import LocalPool, seats

    return LocalPool(settings, seats(settings.device, processes)[:count], progress)


def _make_folder(output: Path) -> None:
    """Make the folder, or see that it is a batch's. Another batch may be doing the same."""
    with plain_write_errors(f"{output} cannot be written", OTHER_FOLDER):
        if output.exists() and not output.is_dir():
            raise OutputError(f"{output} is a file, but a folder for the results was expected. Choose another one.")
        output.mkdir(parents=True, exist_ok=True)
        # The mark of another that is just being written counts as one, and so does what a killed writer left of it.
        names = {path.name for path in output.iterdir()} - {LOCK_NAME, f".{MARK}.part"}
        if names and not (output / MARK).is_file():
            raise OutputError(
                f"The folder {output} is not empty and holds no batch of KidneySeg (no {MARK}). Choose an empty or new "
                "folder."
            )


def _mark(output: Path) -> None:
    """Make the folder a batch's. Only while its lock is held."""
    with plain_write_errors(f"{output} cannot be written", OTHER_FOLDER):
        if not (output / MARK).is_file():
            write_json(output / MARK, {"format": FORMAT, "format_version": 1})
        for name in (CASES, FAILURES):
            (output / name).mkdir(exist_ok=True)


def _clear_unfinished(output: Path) -> None:
    """Remove what killed runs left half-written. Only while the folder's lock is held."""
    for aside in (output / CASES).glob(".*.old"):
        # Killed between the two renames that replace a result: the older one is whole, and put back.
        target = aside.parent / aside.name[1:].rsplit(".", 2)[0]
        with contextlib.suppress(OSError):
            if not target.exists():
                (aside / "results").rename(target)
    for folder in (output, output / CASES, output / FAILURES):
        for path in folder.iterdir():
            if path.name.startswith(".") and path.suffix in (".part", ".old"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        path.unlink()
