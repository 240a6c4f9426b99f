"""The host: one per process, made by `install`."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import pythonqt
from .errors import RecordedErrors, record_unraisable, recorded

qt = pythonqt.install()
import slicer  # noqa: E402
import vtk  # noqa: E402
from PySide6 import QtCore, QtWidgets  # noqa: E402

from . import application, extensions, io_manager, layout, modules, slicer_namespace, widgets  # noqa: E402, F401
from .dialogs import Dialogs  # noqa: E402
from .mrml_core import MrmlCore  # noqa: E402
from .standin import build  # noqa: E402
from .ui_loader import UiLoader  # noqa: E402

_installed: list[Host] = []
BASE_PYTHON_VARIABLE = "SLICER_HOST_BASE_PYTHON"


class Host:
    """What tests use beside Slicer's own API.

    errors      exceptions that slots, timers and VTK observers raised; assert it is empty, ``errors.take()`` empties it
    messages    texts that slicer.util's message boxes and delayDisplay would have shown, oldest first
    dialogs     answers modal dialogs: ``with host.dialogs.answered_by(press("Continue")) as shown:``;
                unanswered ones are rejected and noted in errors
    folder      temporary folder of this run; ``slicer.app.temporaryPath`` is in it
    """

    def __init__(self, testing: bool, base_python: Path | None, share: Path | None) -> None:
        self.testing = testing
        self.errors: RecordedErrors = recorded
        self.messages: list[str] = []
        self.restarts_asked = 0
        self.dicom_database = None
        self.startup_environment = QtCore.QProcessEnvironment.systemEnvironment()
        self.folder = Path(tempfile.mkdtemp(prefix="slicer_host_"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        for part in ("tmp", "home", "cache", "settings"):
            (self.folder / part).mkdir()
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(self.folder / "settings"))
        self.app = application.create(self)
        self.app.setOrganizationName("NA-MIC")
        self.app.setApplicationName("Slicer")
        binaries = application.python_slicer(self.folder / "home").parent
        os.environ["PATH"] = os.pathsep.join(
            [str(binaries), os.environ.get("PATH", "")]
        )  # as in Slicer: shutil.which finds PythonSlicer
        self._paths()
        slicer_namespace.hide_leaked_names()
        slicer_namespace.install_ctk()
        slicer_namespace.install_kits()
        qt.QUiLoader = UiLoader
        vtk.vtkObject.GlobalWarningDisplayOff()  # default colour and terminology files are not in the wheel
        self.core = MrmlCore(self.folder / "cache", share if share is not None else self.folder / "home" / "share")
        slicer.app, slicer.mrmlScene = self.app, self.core.scene
        modules.make_namespaces()
        self.module_manager = build("qSlicerModuleManager")()
        self.io_manager = build("qSlicerIOManager")()
        self.extensions_model = build("qSlicerExtensionsManagerModel")()
        self.error_log = build("ctkErrorLogModel")()
        for name, logic in self.core.logics.items():
            modules.add_loadable(name, logic)
        self.layout_manager = layout.create(self.core)
        slicer_namespace.install_python_layer(base_python)
        self.dialogs = Dialogs()
        slicer.util.delayDisplay = self._delay_display
        vtk.vtkObject.GlobalWarningDisplayOn()
        record_unraisable()

    def _paths(self) -> None:
        values = self.app.__dict__.setdefault("_values", {})
        values["temporaryPath"] = str(self.folder / "tmp")
        values["slicerHome"] = str(self.folder / "home")
        values["cachePath"] = str(self.folder / "cache")
        values["slicerUserSettingsFilePath"] = QtCore.QSettings().fileName()

    def _delay_display(self, message: str, autoCloseMsec: int = 1000, parent: Any = None, **_: Any) -> None:
        """Slicer shows a pop-up for a while (also for message boxes, in testing mode); the host only notes its text."""
        self.messages.append(message)
        self.app.processEvents()

    def load_module(self, path: str | os.PathLike) -> Any:
        """Load a scripted module's .py file: it becomes ``slicer.modules.<name>``, which is returned."""
        return modules.load_scripted(Path(path))

    def open_panel(self, name: str) -> Any:
        """The module's Python widget, after setup() and enter(), as when a user selects the module."""
        representation = getattr(slicer.modules, name.lower()).widgetRepresentation()
        if not representation.isEntered:
            representation.enter()
        return representation.self()

    def leave_panel(self, name: str) -> None:
        getattr(slicer.modules, name.lower()).widgetRepresentation().exit()

    def unload_module(self, name: str) -> None:
        """As when Slicer quits: ``cleanup()`` of the panel, then the panel is deleted."""
        modules.unload(name)
        self.process_events()

    @contextlib.contextmanager
    def older_slicer(self) -> Iterator[None]:
        """Slicer 5.10 for the body of a ``with``: its version, and no slicer.packaging."""
        packaging = sys.modules.pop("slicer.packaging")
        sys.modules["slicer.packaging"] = None  # type: ignore[assignment]  # makes the import fail
        del slicer.packaging
        values = self.app.__dict__["_values"]
        kept, kept_install = dict(values), slicer.util.pip_install
        values.update(minorVersion=10, mainApplicationMinorVersion=10)
        slicer.util.pip_install = packaging.pip_install
        try:
            yield
        finally:
            sys.modules["slicer.packaging"] = slicer.packaging = packaging
            values.clear()
            values.update(kept)
            slicer.util.pip_install = kept_install

    def quit(self) -> None:
        """Emit aboutToQuit() as Slicer does when it closes; the process goes on."""
        self.app.aboutToQuit.emit()

    def clear_scene(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.process_events()

    def process_events(self, until: Any = None, timeout_s: float = 10.0) -> bool:
        """Run the event loop once, or until ``until()`` is true; False when that took longer than `timeout_s`."""
        timer = QtCore.QElapsedTimer()
        timer.start()
        while True:
            QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 20)
            QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
            if until is None or until():
                return True
            if timer.elapsed() > timeout_s * 1000:
                return False
            QtCore.QThread.msleep(2)


def install(
    testing: bool = True, base_python: str | os.PathLike | None = None, share: str | os.PathLike | None = None
) -> Host:
    """Make this process look like Slicer's Python: ``import slicer, qt, ctk, vtk`` work as there. Calling it again
    gives the same host.

    testing: what ``slicer.app.testingEnabled()`` says: then slicer.util's message boxes answer OK by themselves.
    base_python: a Slicer checkout's ``Base/Python`` to use in place of the host's own slicer.ScriptedLoadableModule
    and its like.
    share: folder of module resources, e.g. ``share/Terminologies/*.json``.
    """
    if not _installed:
        base = base_python or os.environ.get(BASE_PYTHON_VARIABLE)
        _installed.append(Host(testing, Path(base) if base else None, Path(share) if share else None))
    return _installed[0]
