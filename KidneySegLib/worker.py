"""The child process that the panel talks to: ``python -m KidneySegLib.worker --workspace FOLDER --parent-pid PID``.

It obeys `worker_parts.protocol` on its pipes, does one command at a time, keeps the loaded model between commands,
and ends with its parent. Whatever any library prints goes to standard error, so that standard output holds the
protocol only.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from KidneySegLib.errors import Cancelled
from KidneySegLib.progress import CancelToken, Progress
from KidneySegLib.worker_parts import lifeline, protocol
from KidneySegLib.worker_parts.commands import Session
from KidneySegLib.worker_parts.failures import describe_failure, is_out_of_memory
from KidneySegLib.worker_parts.remaining import ProgressLines
from KidneySegLib.worker_parts.request_forms import check_fields


class Worker:
    """One conversation.

    Attributes:
        session: does the commands and holds the warm model.
    """

    def __init__(self, requests: BinaryIO, replies: BinaryIO, session: Session) -> None:
        self.session = session
        self._requests = requests
        self._replies = replies
        self._reply_lock = threading.Lock()
        self._waiting: queue.Queue[dict[str, Any] | protocol.ProtocolError | None] = queue.Queue()
        self._state_lock = threading.Lock()
        self._tokens: dict[int, CancelToken] = {}
        self._stopping = False
        self._abandoned = threading.Event()

    def send(self, message: dict[str, Any]) -> None:
        """Write one line. A parent that no longer listens has abandoned us."""
        try:
            with self._reply_lock:
                self._replies.write(protocol.encode(message))
                self._replies.flush()
        except (BrokenPipeError, ValueError):
            self.abandon()

    def abandon(self) -> None:
        """The parent is gone: stop the running command, then end with everything that was started."""
        if self._abandoned.is_set():
            return
        self._abandoned.set()
        self._stop_all()
        timer = threading.Timer(lifeline.GRACE_S, lifeline.end_now, args=(self.session.workspace,))
        timer.daemon = True
        timer.start()
        self._waiting.put(None)

    def run(self) -> int:
        """Talk until told to stop. Returns the exit status."""
        reader = threading.Thread(target=self._read_requests, name="requests", daemon=True)
        reader.start()
        greeted = False
        while (request := self._waiting.get()) is not None:
            try:
                if isinstance(request, protocol.ProtocolError):
                    raise request
                request_id, command = protocol.check_request(request)
                check_fields(request)
                if not greeted:
                    protocol.check_greeting(request)
                    greeted = True
            except protocol.ProtocolError as error:
                self.send({"id": None, "event": "error", **describe_failure(error)})
                self._stop_all()
                return protocol.EXIT_NOT_OUR_PROTOCOL
            status = self._obey(request_id, command, request)
            if status is not None:
                return status
        if self._abandoned.is_set():
            lifeline.end_now(self.session.workspace)
        return protocol.EXIT_OK

    def _obey(self, request_id: int, command: str, request: dict[str, Any]) -> int | None:
        with self._state_lock:
            token = self._tokens.setdefault(request_id, CancelToken())
            if self._stopping:
                token.cancel()
        progress = Progress(ProgressLines(self.send, request_id), token)
        status: int | None = None
        try:
            progress.check()
            result = self.session.obey(command, request, progress)
            reply = {"id": request_id, "event": "result", **result}
        except Cancelled:
            reply = {"id": request_id, "event": "cancelled"}
        # Whatever happens in a command becomes a message: the panel must learn of it, and the next command may work.
        except Exception as error:
            reply = {"id": request_id, "event": "error", **describe_failure(error)}
            if isinstance(error, protocol.ProtocolError):
                status = protocol.EXIT_NOT_OUR_PROTOCOL
            elif is_out_of_memory(error):
                # Libraries that failed to allocate may be in any state: a fresh process is the only safe one.
                status = protocol.EXIT_OUT_OF_MEMORY
        finally:
            with self._state_lock:
                self._tokens.pop(request_id, None)
        self.send(reply)
        return status

    def _read_requests(self) -> None:
        while True:
            line = self._requests.readline(protocol.MAX_LINE_BYTES + 1)
            if not line:
                self.abandon()
                return
            try:
                request = protocol.decode(line)
            except protocol.ProtocolError as error:
                self._stop_all()
                self._waiting.put(error)
                return
            if request.get("command") == "cancel":
                self._cancel(request)
            elif request.get("command") == "shutdown":
                self._stop_all()
                self._waiting.put(None)
                return
            else:
                self._expect(request)
                self._waiting.put(request)

    def _expect(self, request: dict[str, Any]) -> None:
        # A request may be cancelled while it still waits for its turn.
        request_id = request.get("id")
        if isinstance(request_id, int):
            with self._state_lock:
                self._tokens.setdefault(request_id, CancelToken())

    def _cancel(self, request: dict[str, Any]) -> None:
        with self._state_lock:
            token = self._tokens.get(request.get("target", -1))
        if token is not None:
            token.cancel()

    def _stop_all(self) -> None:
        with self._state_lock:
            self._stopping = True
            for token in self._tokens.values():
                token.cancel()


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for the protocol; what anything else prints goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def main(arguments: Sequence[str] | None = None, make_session: Callable[[Path], Session] = Session) -> int:
    """Run the child process. Returns its exit status (`worker_parts.protocol.EXIT_...`)."""
    parser = argparse.ArgumentParser(prog="python -m KidneySegLib.worker", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="private folder for arrays and results")
    parser.add_argument("--parent-pid", type=int, required=True, help="end when this process does")
    options = parser.parse_args(arguments)
    if not (options.workspace / protocol.WORKSPACE_MARKER).is_file():
        parser.error(f"--workspace must be a folder with the file {protocol.WORKSPACE_MARKER}, got {options.workspace}")
    faulthandler.enable()
    lifeline.lead_own_group()
    requests, replies = _private_pipes()
    worker = Worker(requests, replies, make_session(options.workspace))
    with contextlib.suppress(ValueError):  # not in the main thread
        # Ctrl-C in the terminal that started 3D Slicer is meant for 3D Slicer, whose end we notice.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: worker.abandon())
    lifeline.watch_parent(options.parent_pid, worker.abandon)
    return worker.run()


if __name__ == "__main__":
    _status = main()
    sys.stderr.flush()
    # Native libraries' threads may not delay the end, and their destructors have nothing to save.
    os._exit(_status)
