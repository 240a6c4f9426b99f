"""A batch on this computer: child processes with a model each, one for each graphics card or group of cores."""

from __future__ import annotations

import itertools
import queue
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from KidneySegLib.cohort.engine_child import EngineChild, Event
from KidneySegLib.cohort.one_case import FAILED, MEMORY, Outcome
from KidneySegLib.cohort.settings import BatchSettings, CaseJob
from KidneySegLib.errors import KidneySegError
from KidneySegLib.progress import Progress

#: Without a graphics card: a network gains little from more cores than this, and each process needs so much memory.
CORES_PER_PROCESS = 8
BYTES_PER_PROCESS = 8 * 1024**3
#: Cases of one process at a time: one in the network, one being read or written.
IN_FLIGHT = 2
#: So many processes of one seat may die in a row without finishing any case.
_MOST_DEATHS = 3


@dataclass(frozen=True)
class Seat:
    """Where one child process works.

    Attributes:
        device: value of ``--device``.
        threads: processor threads that it may use.
    """

    device: str
    threads: int


def seats(device: str, processes: int | None) -> tuple[Seat, ...]:
    """The child processes of this computer.

    Args:
        device: value of ``--device``; ``auto`` and ``cuda`` use all cards, one process each.
        processes: how many, or None: as many as this computer does well with.

    Raises:
        DeviceError: there is no such device.
    """
    from KidneySegLib.inference.device import available_devices, choose_device
    from KidneySegLib.inference.threads import thread_count

    chosen = choose_device(device)
    cores = thread_count()
    if chosen.kind == "cuda":
        cards = (
            [one.id for one in available_devices() if one.kind == "cuda"] if device in ("auto", "cuda") else [device]
        )
    else:
        cards = [device]
    fit = 1
    if chosen.kind == "cpu":
        memory = (chosen.memory_bytes or BYTES_PER_PROCESS) // BYTES_PER_PROCESS
        fit = max(1, min(cores // CORES_PER_PROCESS, memory))
    count = processes or len(cards) * fit
    threads = max(1, cores // count)
    return tuple(Seat(card, threads) for card in itertools.islice(itertools.cycle(cards), count))


class LocalPool:
    """Child processes that share a list of cases.

    A case that was alone in a process that died has failed. Cases that shared one are each tried again alone, so that
    the one to blame is found and the others are not lost.

    Args:
        settings: how to segment.
        seats: where the processes work.
        progress: asked whether to stop.
        in_flight: cases of one process at a time.
    """

    def __init__(
        self, settings: BatchSettings, seats: Sequence[Seat], progress: Progress, in_flight: int = IN_FLIGHT
    ) -> None:
        self._settings, self._seats, self._progress, self._in_flight = settings, seats, progress, in_flight
        self._events: queue.Queue[Event] = queue.Queue()
        self._children: dict[int, EngineChild] = {}
        self._deaths = [0] * len(seats)
        self._waiting: deque[CaseJob] = deque()
        self._suspects: deque[CaseJob] = deque()

    @property
    def workers(self) -> int:
        """Processes at work."""
        return sum(child.ready for child in self._children.values())

    def outcomes(self, jobs: Sequence[CaseJob]) -> Iterator[Outcome | None]:
        """Do the cases; gives what becomes of each as it becomes known, and None now and then while nothing does.

        Raises:
            KidneySegError: the model cannot be loaded, or processes die before they do anything.
            Cancelled: at the user's request.
        """
        self._waiting.extend(jobs)
        try:
            while self._hand_out():
                self._progress.check()
                try:
                    event = self._events.get(timeout=0.2)
                except queue.Empty:
                    yield None
                    continue
                yield from self._take(event)
        finally:
            self._close()

    def _hand_out(self) -> bool:
        """Give cases to processes that have room. False when all is done."""
        for index in range(len(self._seats)):
            child = self._children.get(index)
            if child is None:
                if len(self._children) < min(len(self._seats), self._left()):
                    self._children[index] = self._start(index)
                continue
            # While there are suspects, the first seat takes nothing else, so that it will be free for them.
            if self._suspects and index == min(self._children):
                if child.has_room(1):
                    child.give(self._suspects.popleft())
                continue
            while self._waiting and child.has_room(self._in_flight):
                child.give(self._waiting.popleft())
        return self._left() > 0

    def _left(self) -> int:
        at_work = sum(len(child.jobs) for child in self._children.values())
        return len(self._waiting) + len(self._suspects) + at_work

    def _start(self, index: int) -> EngineChild:
        seat = self._seats[index]
        return EngineChild(
            replace(self._settings, device=seat.device), seat.threads, self._in_flight, self._events, index
        )

    def _take(self, event: Event) -> Iterator[Outcome]:
        child = self._children.get(event.index)
        if child is None or child is not event.child:
            return
        if event.message is None:
            yield from self._died(event.index, child)
            return
        kind = event.message.get("event")
        if kind == "ready":
            child.ready = True
        elif kind == "unusable":
            raise KidneySegError(str(event.message.get("error")))
        elif kind == "outcome":
            outcome = Outcome.from_json(event.message["outcome"])
            job = child.jobs.pop(outcome.case_id, None)
            if event.message.get("retire"):
                child.retire()
            if job is None:
                return
            if outcome.what == FAILED and outcome.kind == MEMORY and not job.alone:
                self._suspects.append(replace(job, alone=True))
                return
            self._deaths[event.index] = 0
            yield outcome

    def _died(self, index: int, child: EngineChild) -> Iterator[Outcome]:
        del self._children[index]
        reason, words = child.reason(), child.last_words()
        child.end()
        jobs = list(child.jobs.values())
        if child.retiring:
            self._waiting.extendleft(jobs)  # not to blame: they were stopped
            return
        self._deaths[index] += 1
        if len(jobs) == 1:
            self._deaths[index] = 0
            text = f"The process that worked on this case ended: {reason}. The other cases were not affected."
            yield Outcome(jobs[0].case_id, FAILED, error=text, details=words)
        else:
            self._suspects.extend(replace(job, alone=True) for job in jobs)
        if self._deaths[index] >= _MOST_DEATHS:
            raise KidneySegError(
                f"The engine's process ended {_MOST_DEATHS} times before it finished a case: {reason}. "
                f"Its last words: {words[-500:].strip() or 'none'}"
            )

    def _close(self) -> None:
        for child in self._children.values():
            child.retire()
        for child in self._children.values():
            child.end()
        self._children.clear()
