"""The batch's end of the pipe to one `engine_process`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from typing import Any, BinaryIO, cast

from KidneySegLib.cohort import engine_process
from KidneySegLib.cohort.settings import BatchSettings, CaseJob
from KidneySegLib.worker_parts import protocol

#: As long as nothing else is said, libraries in the child use this many threads.
_THREAD_VARIABLES = ("KIDNEYSEG_THREADS", "OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
_LAST_WORDS_BYTES = 4000


@dataclass(frozen=True)
class Event:
    """Something that a child said; a message of None is its end."""

    index: int
    child: EngineChild
    message: dict[str, Any] | None


class EngineChild:
    """A child process.

    Args:
        settings: how to segment, with this child's own device.
        threads: processor threads that it may use.
        in_flight: cases at a time.
        events: told what the child says.
        index: the child's seat.

    Attributes:
        jobs: cases that it has and has not answered, by id.
        ready: the model is loaded.
        retiring: it gets no more cases and ends when it has none.
    """

    def __init__(self, settings: BatchSettings, threads: int, in_flight: int, events: Queue[Event], index: int) -> None:
        self.jobs: dict[str, CaseJob] = {}
        self.ready = False
        self.retiring = False
        package = str(Path(engine_process.__file__).resolve().parents[2])
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
        for variable in _THREAD_VARIABLES:
            environment.setdefault(variable, str(threads))
        # What libraries print belongs neither on the terminal nor into the protocol.
        self._words = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", engine_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
        )
        self._send({"settings": asdict(settings), "in_flight": in_flight})
        threading.Thread(target=self._listen, args=(events, index), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def has_room(self, most: int) -> bool:
        """Whether it may be given a case, if it may have this many."""
        alone = any(job.alone for job in self.jobs.values())
        return self.ready and not self.retiring and not alone and len(self.jobs) < most

    def give(self, job: CaseJob) -> None:
        """Hand over a case."""
        self.jobs[job.case_id] = job
        self._send({"job": job.as_json()})

    def retire(self) -> None:
        """Tell it to stop: cases that it has are given up, and tried again elsewhere."""
        self.retiring = True
        self._close_stdin()

    def _close_stdin(self) -> None:
        stdin = self._process.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(OSError):
                stdin.close()

    def end(self) -> None:
        """Wait until it has stopped, not for ever, and let go of it."""
        self._close_stdin()
        try:
            self._process.wait(engine_process.GRACE_S + 2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()

    def reason(self) -> str:
        """Why it ended, in words. Only after its end."""
        code = self._process.wait()
        if code == -signal.SIGTERM or (os.name != "nt" and code == -signal.SIGKILL):
            return "it was killed, as the operating system does when memory runs out"
        if code < 0:
            return f"it crashed ({signal.Signals(-code).name})"
        return f"it crashed (exit status {code})"

    def last_words(self) -> str:
        """The end of what it printed."""
        if self._words.closed:
            return ""
        length = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, length - _LAST_WORDS_BYTES))
        return self._words.read().decode("utf-8", "replace")

    def _send(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(protocol.encode(message))
            stdin.flush()
        except (BrokenPipeError, OSError, ValueError):
            pass  # its end is on its way

    def _listen(self, events: Queue[Event], index: int) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while line := stdout.readline(protocol.MAX_LINE_BYTES + 1):
                try:
                    events.put(Event(index, self, protocol.decode(line)))
                except protocol.ProtocolError:
                    self._process.kill()
                    break
        self._process.wait()
        events.put(Event(index, self, None))
