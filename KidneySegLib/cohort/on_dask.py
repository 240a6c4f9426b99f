"""A batch on a Dask cluster (``distributed``): the scheduler gives cases to workers, and again where one is lost.

Workers must see the scans and the output folder under the same paths, as on the shared disk of a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from KidneySegLib.cohort.one_case import FAILED, EngineShelf, Outcome, run_case
from KidneySegLib.cohort.settings import CaseJob
from KidneySegLib.errors import DependencyError, KidneySegError
from KidneySegLib.progress import CancelToken, Progress, ProgressEvent

if TYPE_CHECKING:
    from distributed import Client, Future

#: Seconds within which the scheduler must answer.
CONNECT_TIMEOUT_S = 30.0
#: Cases handed to the scheduler for each thread of its workers, so that none waits for the batch.
_AHEAD = 3
_FEWEST_AHEAD = 8

#: The model of this worker process, kept between cases.
_shelf = EngineShelf()


class DaskPool:
    """The workers of a scheduler.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.
        progress: asked whether to stop.

    Raises:
        DependencyError: ``distributed`` is not installed.
        KidneySegError: no scheduler answers at the address.
    """

    def __init__(self, address: str, progress: Progress) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise DependencyError(
                "--scheduler needs dask and distributed. Install them: pip install 'kidneyseg[cohort]'"
            ) from error
        self._progress = progress
        try:
            self._client: Client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise KidneySegError(
                f"No Dask scheduler answers at {address} ({error}). Start one (dask scheduler), and give the address "
                "that it prints, such as tcp://host:8786."
            ) from error

    @property
    def workers(self) -> int:
        """Workers that the scheduler has now."""
        return len(self._client.scheduler_info(n_workers=-1).get("workers", {}))

    def outcomes(self, jobs: Sequence[CaseJob]) -> Iterator[Outcome | None]:
        """Do the cases; gives what becomes of each as it becomes known, and None now and then while nothing does.

        Raises:
            KidneySegError: the scheduler went away.
            Cancelled: at the user's request.
        """
        from distributed import wait

        waiting = list(reversed(jobs))
        running: dict[Future[Any], CaseJob] = {}
        try:
            while waiting or running:
                self._progress.check()
                while waiting and len(running) < self._window():
                    job = waiting.pop()
                    running[self._submit(job)] = job
                try:
                    with self._client.as_current():
                        ended = wait(list(running), timeout=0.5, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    self._check_alive()
                    yield None
                    continue
                for future in ended:
                    job = running.pop(future)
                    yield self._outcome(future, job)
        finally:
            # Dask tells the workers, which see it in `_run_on_worker`.
            if running:
                self._client.cancel(list(running), force=True)
            self._client.close(timeout=10)

    def _submit(self, job: CaseJob) -> Future[Any]:
        return self._client.submit(
            run_on_worker, job.as_json(), pure=False, key=f"kidneyseg-{job.case_id}-{id(self)}", retries=0
        )

    def _window(self) -> int:
        return max(_FEWEST_AHEAD, _AHEAD * sum(self._client.nthreads().values()))

    def _check_alive(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise KidneySegError(
                "The Dask scheduler went away. Finished cases are kept: start it, and run the same command again."
            )

    def _outcome(self, future: Future[Any], job: CaseJob) -> Outcome:
        if future.status == "finished":
            return Outcome.from_json(future.result())
        if future.status == "cancelled" or future.status == "lost":
            self._check_alive()
            text = "The Dask scheduler dropped this case. Run the same command again."
            return Outcome(job.case_id, FAILED, error=text)
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            text = (
                "Every worker that worked on this case died, as happens when memory runs out. Give the workers more "
                "memory, or crop the scan to the abdomen."
            )
        else:
            text = (
                f"A worker could not do this case ({type(error).__name__}: {error}). Install the same KidneySeg there."
            )
        return Outcome(job.case_id, FAILED, error=text)


def run_on_worker(content: Mapping[str, Any]) -> dict[str, Any]:
    """One case on a worker; the batch asks Dask to call this."""
    job = CaseJob.from_json(content)
    token = CancelToken()
    return run_case(job, _shelf, Progress(_StopIfDropped(token), token)).as_json()


class _StopIfDropped:
    """Stops a case that the scheduler no longer wants, such as after Ctrl-C at the batch."""

    def __init__(self, token: CancelToken) -> None:
        self._token = token
        self._worker: Any = None
        self._key: Any = None
        try:
            from distributed import get_worker

            self._worker = get_worker()
            self._key = self._worker.get_current_task()
        except (ImportError, ValueError, AttributeError):
            self._worker = None  # not on a worker, or one of another release: then the case runs to its end

    def __call__(self, event: ProgressEvent) -> None:
        if self._worker is None:
            return
        state = getattr(self._worker, "state", None)
        task = getattr(state, "tasks", {}).get(self._key)
        if task is None or getattr(task, "state", "") == "cancelled":
            self._token.cancel()
