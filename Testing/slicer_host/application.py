"""slicer.app: the one QApplication, with the paths, settings and signals of Slicer's."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from PySide6 import QtCore, QtWidgets

from .standin import build, models

VERSION = (5, 12)


@models("qSlicerCoreApplication")
class CoreApplication:
    _defaults = {
        "majorVersion": VERSION[0],
        "minorVersion": VERSION[1],
        "revision": "33000",
        "platform": "linux-amd64",
        "os": "linux",
        "arch": "amd64",
        "mainApplicationName": "Slicer",
        "mainApplicationDisplayName": "3D Slicer",
        "mainApplicationMajorVersion": VERSION[0],
        "mainApplicationMinorVersion": VERSION[1],
        "documentationBaseUrl": "https://slicer.readthedocs.io/en/latest/",
        "documentationVersion": "latest",
        "documentationLanguage": "en",
        "applicationLocaleName": "en-US",
        "isInstalled": True,
        "releaseType": "Stable",
    }

    def mrmlScene(self):
        return self._host.core.scene

    def applicationLogic(self):
        return self._host.core.application_logic

    def moduleLogic(self, name):
        return self._host.core.logics.get(name)

    def moduleManager(self):
        return self._host.module_manager

    def coreIOManager(self):
        return self._host.io_manager

    def extensionsManagerModel(self):
        return self._host.extensions_model

    def errorLogModel(self):
        return self._host.error_log

    def settings(self):
        return QtCore.QSettings()

    userSettings = revisionUserSettings = defaultSettings = settings

    def testingEnabled(self):
        return self._host.testing

    def environment(self):
        found = QtCore.QProcessEnvironment.systemEnvironment()
        for name, value in os.environ.items():
            found.insert(name, value)
        return found

    def startupEnvironment(self):
        return self._host.startup_environment

    def setEnvironmentVariable(self, name, value):
        os.environ[name] = value

    def isEnvironmentVariableValueSet(self, name):
        return bool(os.environ.get(name))

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def setRenderPaused(self, _paused):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def restart(self):
        self._host.restarts_asked += 1

    def toSlicerHomeAbsolutePath(self, path):
        return str(Path(self.slicerHome) / path)

    def logUsageEvent(self, *_):
        pass

    def dicomDatabase(self):
        return self._host.dicom_database


@models("qSlicerApplication")
class Application:
    def ioManager(self):
        return self._host.io_manager

    def layoutManager(self):
        return self._host.layout_manager

    def setRenderPaused(self, _paused):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def commandOptions(self):
        options = build("qSlicerCoreCommandOptions")()
        options.__dict__.setdefault("_values", {})["testingEnabled"] = self._host.testing
        return options

    def confirmRestart(self, _reason=""):
        self._host.restarts_asked += 1


def create(host):
    """The application object. Raises RuntimeError when another QApplication is there already."""
    if QtWidgets.QApplication.instance() is not None:
        raise RuntimeError("install the Slicer host before anything makes a QApplication")
    arguments = ["Slicer"]
    app = _application_class()(arguments)
    app._host = host
    return app


def _application_class():
    kind = build("qSlicerApplication")

    def __init__(self, arguments):
        QtWidgets.QApplication.__init__(self, arguments)

    kind.__init__ = __init__
    return kind


def python_slicer(folder: Path) -> Path:
    """A ``bin/PythonSlicer`` under `folder` that starts the running Python, as Slicer's does."""
    binary = folder / "bin" / ("PythonSlicer.bat" if platform.system() == "Windows" else "PythonSlicer")
    binary.parent.mkdir(parents=True, exist_ok=True)
    if platform.system() == "Windows":
        binary.write_text(f'@"{sys.executable}" %*\r\n')
    else:
        binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        binary.chmod(0o755)
    return binary
