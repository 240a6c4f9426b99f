"""A bare client of the child process for tests: blocking, standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Empty, Queue

import numpy as np

from KidneySegLib.worker_parts import protocol

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
REAL = [sys.executable, "-m", "KidneySegLib.worker"]


class Conversation:
    """One child process and what it said."""

    def __init__(self, command=SCRIPTED, greet=True, parent_pid=None, environment=None):
        self.workspace = Path(tempfile.mkdtemp(prefix="kidneyseg-test-"))
        (self.workspace / protocol.WORKSPACE_MARKER).touch()
        inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self.process = subprocess.Popen(
            [*command, "--workspace", str(self.workspace), "--parent-pid", str(parent_pid or os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**inherited, "KIDNEYSEG_THREADS": "1", **(environment or {})},
        )
        self.lines: Queue[bytes] = Queue()
        self.errors: list[bytes] = []
        self._pumps = [threading.Thread(target=pump, daemon=True) for pump in (self._pump, self._pump_errors)]
        for pump in self._pumps:
            pump.start()
        self._next_id = 0
        if greet:
            self.hello = self.ask("hello", protocol=protocol.PROTOCOL, version=protocol.VERSION)

    def _pump(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def _pump_errors(self):
        self.errors.extend(self.process.stderr)

    def send(self, command, **fields):
        self._next_id += 1
        self.send_raw(protocol.encode({"id": self._next_id, "command": command, **fields}))
        return self._next_id

    def send_raw(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self, timeout=120):
        """The next message, or None once the child closed its output."""
        try:
            line = self.lines.get(timeout=timeout)
        except Empty:
            raise AssertionError("the child said nothing in time") from None
        return protocol.decode(line) if line else None

    def receive_until(self, *events, request_id=None):
        """Messages up to and including the first whose event is one of ``events``."""
        messages = []
        while (message := self.receive()) is not None:
            messages.append(message)
            if message["event"] in events and request_id in (None, message["id"]):
                return messages
        raise AssertionError(f"the child ended with status {self.process.wait()} after {messages[-3:]}")

    def ask(self, command, **fields):
        request_id = self.send(command, **fields)
        return self.receive_until("result", "error", "cancelled", request_id=request_id)[-1]

    def volume(self, hu, spacing=(1.0, 1.0, 2.0), origin=(0.0, 0.0, 0.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
        np.save(self.workspace / "volume.npy", hu)
        return {
            "array": "volume.npy",
            "spacing_mm": list(spacing),
            "origin_mm": list(origin),
            "direction": [float(value) for value in direction],
        }

    def close(self):
        if sys.platform != "win32" and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for pump in self._pumps:
            pump.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
        shutil.rmtree(self.workspace, ignore_errors=True)
