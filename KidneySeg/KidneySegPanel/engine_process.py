"""The engine's process as the panel sees it: started when needed, kept warm, ended as a whole tree."""

import contextlib
import logging
import os
import signal
import subprocess
from pathlib import Path

import qt
from slicer.i18n import tr as _

from KidneySegLib.worker_parts import lifeline, protocol
from KidneySegPanel.engine_command import defaultEngineCommand, makeWorkspace

# How long a cancelled command may take to notice before its process is ended.
CANCEL_PATIENCE_MS = 1500
# How long the process may take to greet: a cold disk and a virus scanner can need most of this.
GREETING_PATIENCE_MS = 60000


class EngineRequest:
    """One command under way. Exactly one of its callbacks `done`, `failed`, `cancelled` is called, once."""

    def __init__(self, command, fields, done=None, failed=None, cancelled=None, progress=None):
        self.command = command
        self.fields = fields
        self._callbacks = {"result": done, "error": failed, "cancelled": cancelled}
        self._progress = progress
        self.finished = False
        self.cancelling = False

    def reportProgress(self, message):
        if self._progress and not self.cancelling:
            self._progress(message)

    def finish(self, event, message):
        if self.finished:
            return
        self.finished = True
        callback = self._callbacks[event]
        if callback:
            callback(message) if event != "cancelled" else callback()


class EngineProcess:
    """Talks `KidneySegLib.worker_parts.protocol` with the engine through a QProcess, without any thread.

    Attributes:
        command: EngineCommand to start, None for the one that ships. Takes effect at the next start.
        workspace: private folder shared with the process, None while there is none.
        greeting: what the process said of itself, None until it did.
    """

    def __init__(self, command=None, log=None):
        """
        :param command: EngineCommand, or None for the one that ships.
        :param log: called with each line that is worth keeping.
        """
        self.command = command
        self._log = log or logging.info
        self._process = None
        self._buffer = b""
        self._requests = {}
        self._nextId = 0
        self._outgoing = []
        self._lastErrors = []
        self._endReason = None
        self.workspace = None
        self.greeting = None

    @property
    def busy(self):
        return bool(self._requests)

    @property
    def running(self):
        return self._process is not None

    def request(self, command, done=None, failed=None, cancelled=None, progress=None, **fields):
        """Send a command, starting the process if there is none. Returns the EngineRequest."""
        request = EngineRequest(command, fields, done, failed, cancelled, progress)
        try:
            self._start()
        except OSError as error:
            failure = _failure("DiskFull", str(error), _("Free some disk space."))
            qt.QTimer.singleShot(0, lambda: request.finish("error", failure))
            return request
        self._send(request)
        return request

    def prepareWorkspace(self):
        """The private folder, made if there is none yet, so that voxels can be put there before a request."""
        if self.workspace is None:
            self.workspace = makeWorkspace()
        return self.workspace

    def cancel(self, request):
        """Ask to stop; a process that does not listen is ended, and starts again when it is next needed."""
        if request is None or request.finished or request.cancelling:
            return
        request.cancelling = True
        requestId = next((key for key, value in self._requests.items() if value is request), None)
        if requestId is None or not self.greeting:
            self.end(event="cancelled")
            request.finish("cancelled", None)
            return
        self._write({"id": self._takeId(), "command": "cancel", "target": requestId})
        qt.QTimer.singleShot(CANCEL_PATIENCE_MS, lambda: self._losePatience(request))

    def end(self, event="error", message=None):
        """End the process with all that it started, at once. Requests under way finish with ``event``."""
        process, self._process = self._process, None
        if process is not None:
            for name, slot in self._connections():
                process.disconnect(name, slot)
            self._killTree(process)
        self._forget(event, message or _failure("Stopped", _("The engine was stopped.")))

    def _start(self):
        if self._process is not None:
            return
        self.prepareWorkspace()
        command = self.command or defaultEngineCommand()
        process = qt.QProcess()
        environment = qt.QProcessEnvironment()
        for name, value in command.environment.items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setWorkingDirectory(command.workingDirectory)
        self._process = process
        self._buffer, self._lastErrors, self.greeting = b"", [], None
        for name, slot in self._connections():
            process.connect(name, slot)
        arguments = ["--workspace", str(self.workspace), "--parent-pid", str(os.getpid())]
        process.start(command.program, [*command.arguments, *arguments])
        self._log(_("Starting the engine: {program}").format(program=Path(command.program).name))
        hello = EngineRequest("hello", {"protocol": protocol.PROTOCOL, "version": protocol.VERSION}, done=self._onHello)
        self._send(hello, atOnce=True)
        qt.QTimer.singleShot(GREETING_PATIENCE_MS, lambda: self._checkGreeted(process))

    def _connections(self):
        return (
            ("readyReadStandardOutput()", self._onOutput),
            ("readyReadStandardError()", self._onErrorOutput),
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onProcessError),
        )

    def _takeId(self):
        self._nextId += 1
        return self._nextId

    def _send(self, request, atOnce=False):
        requestId = self._takeId()
        self._requests[requestId] = request
        message = {"id": requestId, "command": request.command, **request.fields}
        if self.greeting or atOnce:
            self._write(message)
        else:
            self._outgoing.append(message)

    def _write(self, message):
        if self._process is not None:
            self._process.write(protocol.encode(message))

    def _onHello(self, message):
        try:
            protocol.check_greeting(message)
        except protocol.ProtocolError as error:
            self.end(message=_failure("ProtocolError", str(error)))
            return
        self.greeting = message
        self._log(
            _("Engine {version} is ready (Python {python}).").format(
                version=message.get("program_version"), python=message.get("python")
            )
        )
        outgoing, self._outgoing = self._outgoing, []
        for waiting in outgoing:
            self._write(waiting)

    def _checkGreeted(self, process):
        if self._process is process and not self.greeting:
            self.end(message=_failure("NoAnswer", _("The engine did not answer within a minute.")))

    def _onOutput(self):
        if self._process is None:
            return
        self._buffer += _bytes(self._process.readAllStandardOutput())
        while b"\n" in self._buffer:
            line, _newline, self._buffer = self._buffer.partition(b"\n")
            try:
                message = protocol.decode(line)
            except protocol.ProtocolError as error:
                self.end(message=_failure("ProtocolError", str(error)))
                return
            self._onMessage(message)
            if self._process is None:
                return

    def _onMessage(self, message):
        event = message.get("event")
        if event == "progress":
            request = self._requests.get(message.get("id"))
            if request:
                request.reportProgress(message)
        elif event in ("result", "error", "cancelled"):
            if event == "error" and message.get("id") is None:
                self.end(message=message)
                return
            request = self._requests.pop(message.get("id"), None)
            if request and request.cancelling:
                event = "cancelled"
            if message.get("traceback"):
                self._log(message["traceback"])
            if event == "error" and message.get("kind") == "OutOfMemory":
                # The process ends itself; do not wait for it, and do not call it a crash.
                self._endReason = message
            if request:
                request.finish(event, message)

    def _onErrorOutput(self):
        if self._process is None:
            return
        text = _bytes(self._process.readAllStandardError()).decode("utf-8", "replace")
        for line in text.splitlines():
            self._lastErrors = [*self._lastErrors[-30:], line]
            self._log(line)

    def _onProcessError(self, error):
        if error == qt.QProcess.FailedToStart and self._process is not None:
            self.end(
                message=_failure(
                    "NotStarted",
                    _("The engine could not be started: {reason}").format(reason=self._process.errorString()),
                    _("Restart 3D Slicer. A virus scanner may block its Python."),
                )
            )

    def _onFinished(self, exitCode, exitStatus=None):
        process = self._process
        if process is None:
            return
        self._onErrorOutput()
        self._onOutput()
        if self._process is None:
            return
        crashed = process.exitStatus() == qt.QProcess.CrashExit
        message = self._endReason or describeEnd(exitCode, crashed, self._lastErrors)
        self._endReason = None
        self._log(_("The engine ended (exit status {status}).").format(status=exitCode))
        self.end(message=message)

    def _losePatience(self, request):
        if not request.finished:
            self._log(_("The engine did not stop by itself and was ended."))
            self.end(event="cancelled")

    def _forget(self, event, message):
        requests, self._requests, self._outgoing = list(self._requests.values()), {}, []
        workspace, self.workspace, self.greeting = self.workspace, None, None
        if workspace is not None:
            lifeline.remove_workspace(workspace)
        for request in requests:
            request.finish("cancelled" if request.cancelling else event, message)

    def _killTree(self, process):
        pid = (self.greeting or {}).get("pid")
        if process.state() != qt.QProcess.NotRunning:
            if os.name == "nt":
                with contextlib.suppress(OSError, subprocess.SubprocessError):
                    subprocess.run(
                        ["taskkill", "/F", "/T", "/PID", str(process.processId())],
                        capture_output=True,
                        timeout=10,
                        creationflags=subprocess.CREATE_NO_WINDOW,
                    )
            elif pid:
                # The process leads a group of its own, apart from Slicer's launcher that stands between us.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            process.kill()
            process.waitForFinished(3000)
        process.deleteLater()


def describeEnd(exitCode, crashed, lastErrors):
    """Why the process ended although nobody asked it to, and what to try."""
    lastWords = "\n".join(lastErrors[-3:])
    if exitCode == protocol.EXIT_OUT_OF_MEMORY or "bad_alloc" in lastWords or "MemoryError" in lastWords:
        reason, advice = _("The engine ran out of memory."), _outOfMemoryAdvice()
    elif crashed:
        reason = _("The engine was ended by the system, most often because memory ran out.")
        advice = _outOfMemoryAdvice()
    elif "No module named" in lastWords:
        reason = _("A Python package is missing: {words}").format(words=lastErrors[-1])
        advice = _("Open Models and set-up and click Install or repair packages.")
    else:
        reason = _("The engine ended unexpectedly (exit status {status}).").format(status=exitCode)
        advice = _("Try again; it starts anew. If it happens again, copy the log and report it.")
    return _failure("EngineEnded", reason, advice)


def _outOfMemoryAdvice():
    return _("Close other programs and scans, or crop the volume to the abdomen, and try again.")


def _failure(kind, message, advice=""):
    return {"event": "error", "kind": kind, "message": message, "advice": advice}


def _bytes(byteArray):
    data = byteArray.data()
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)
