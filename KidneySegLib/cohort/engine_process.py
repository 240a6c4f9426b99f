"""A child process of a batch: ``python -m KidneySegLib.cohort.engine_process``.

It loads the model once and does the cases that come in as JSON lines, a few at a time: while one is in the network, the
next is read and the one before is written. A scan that takes the process down takes nothing else with it.

Lines in: ``{"settings": ..., "in_flight": N}`` first, then ``{"job": ...}`` for each case; the end of the pipe is an
order to stop. Lines out: ``{"event": "ready"}`` or ``{"event": "unusable", "error": ...}``, then ``{"event": "outcome",
"outcome": ..., "retire": true|false}`` for each case.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from KidneySegLib.cohort.one_case import MEMORY, EngineShelf, run_case
from KidneySegLib.cohort.settings import BatchSettings, CaseJob
from KidneySegLib.errors import Cancelled, KidneySegError
from KidneySegLib.progress import CancelToken, Progress
from KidneySegLib.worker_parts import protocol

#: How long cases may take to notice that they are to stop and to clear away what they were writing.
GRACE_S = 8.0


class EngineProcess:
    """One conversation with the batch."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests, self._replies = requests, replies
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reply_lock = threading.Lock()
        self._token = CancelToken()
        self._shelf = EngineShelf()

    def run(self) -> int:
        """Work until the pipe ends. Returns the exit status."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        first = self._lines.get()
        if first is None:
            return protocol.EXIT_OK
        try:
            settings = BatchSettings(**first["settings"])
            self._shelf.engine(settings)
        except KidneySegError as error:
            self._send({"event": "unusable", "error": str(error)})
            return protocol.EXIT_OK
        self._send({"event": "ready"})
        with ThreadPoolExecutor(max_workers=int(first["in_flight"]), thread_name_prefix="case") as pool:
            while (line := self._lines.get()) is not None:
                pool.submit(self._do, CaseJob.from_json(line["job"]))
        return protocol.EXIT_OK

    def _do(self, job: CaseJob) -> None:
        try:
            outcome = run_case(job, self._shelf, Progress(None, self._token))
        except Cancelled:
            return
        # Libraries that failed to allocate may be in any state: after that, only a fresh process is safe.
        self._send({"event": "outcome", "outcome": outcome.as_json(), "retire": outcome.kind == MEMORY})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            with self._reply_lock:
                self._replies.write(protocol.encode(message))
                self._replies.flush()
        except (BrokenPipeError, ValueError):
            self._token.cancel()

    def _read(self) -> None:
        while line := self._requests.readline(protocol.MAX_LINE_BYTES + 1):
            try:
                self._lines.put(protocol.decode(line))
            except protocol.ProtocolError:
                break
        # The batch has ended or was killed: what is half done is cleared away, what is done stays.
        self._token.cancel()
        self._lines.put(None)
        timer = threading.Timer(GRACE_S, os._exit, args=(protocol.EXIT_ABANDONED,))
        timer.daemon = True
        timer.start()


def main() -> int:
    """Run the child process."""
    faulthandler.enable()
    # Ctrl-C in the terminal is for the batch, which tells its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return EngineProcess(requests, replies).run()


if __name__ == "__main__":
    _status = main()
    sys.stderr.flush()
    # Native libraries' threads may not delay the end, and their destructors have nothing to save.
    os._exit(_status)
