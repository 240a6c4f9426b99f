"""How the engine's process is started: which Python, in which environment, in which private folder."""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import slicer

import KidneySegLib
from KidneySegLib.worker_parts.protocol import WORKSPACE_MARKER

# What a process needs from the world outside 3D Slicer. Slicer's own variables (PYTHONPATH, LD_LIBRARY_PATH,
# QT_PLUGIN_PATH, ITK_AUTOLOAD_PATH...) would make the child load the wrong libraries.
PASSED_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PROGRAMDATA", "LOCALAPPDATA", "APPDATA"),
    *("NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER"),
    *("TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "XDG_DATA_HOME", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS", "KIDNEYSEG_HOME"),
)


@dataclass
class EngineCommand:
    """A program to start. Tests give their own."""

    program: str
    arguments: list
    workingDirectory: str
    environment: dict = field(default_factory=dict)


def defaultEngineCommand():
    """``PythonSlicer -m KidneySegLib.worker``, in an environment of its own."""
    return EngineCommand(
        program=pythonExecutable(),
        arguments=["-m", "KidneySegLib.worker"],
        workingDirectory=str(Path(KidneySegLib.__file__).resolve().parent.parent),
        environment=engineEnvironment(slicer.util.startupEnvironment()),
    )


def pythonExecutable():
    """Slicer's own Python with its launcher; outside Slicer, the running Python."""
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    bundled = Path(slicer.app.slicerHome) / "bin" / name
    if bundled.is_file():
        return str(bundled)
    return shutil.which("PythonSlicer") or sys.executable


def engineEnvironment(outside):
    """The variables that the engine gets.

    :param outside: the environment as it was before Slicer's launcher changed it.
    """
    passed = {name.upper() if os.name == "nt" else name: value for name, value in outside.items()}
    environment = {name: passed[name] for name in PASSED_VARIABLES if passed.get(name)}
    environment.update(PYTHONUTF8="1", PYTHONNOUSERSITE="1", PYTHONDONTWRITEBYTECODE="1")
    return environment


def makeWorkspace():
    """A folder that only this user can read, for voxels and results on their way between the two processes."""
    workspace = Path(tempfile.mkdtemp(prefix="KidneySeg-", dir=slicer.app.temporaryPath or None))
    (workspace / WORKSPACE_MARKER).touch()
    return workspace
