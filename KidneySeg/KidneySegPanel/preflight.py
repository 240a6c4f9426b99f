"""Is this computer ready? Facts that decide whether installing and running will work, in plain words."""

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile

from slicer.i18n import tr as _

from KidneySegPanel.input_checks import GOOD, PROBLEM, WARNING, Check

# The longest file name inside the wheels that are installed, below site-packages.
LONGEST_WHEEL_PATH = 140
WINDOWS_PATH_LIMIT = 260
NEEDED_DISK_BYTES = 2_000_000_000
NEEDED_MEMORY_BYTES = 6_000_000_000


def preflightChecks(missing, gpu=None):
    """All checks. :param missing: requirements that are not met. :param gpu: name of the NVIDIA GPU, or None."""
    checks = [
        packagesCheck(missing),
        pathCheck(sys.prefix, os.name, _longPathsAllowed()),
        diskCheck(shutil.disk_usage(tempfile.gettempdir()).free),
        memoryCheck(totalMemory()),
        torchCheck(torchState(), gpu),
        processorCheck(platform.system(), platform.machine(), _underRosetta()),
    ]
    if missing:
        checks.append(networkCheck(_canReachPyPI()))
    return [check for check in checks if check]


def packagesCheck(missing):
    if missing:
        return Check(
            WARNING,
            _("Packages"),
            _("{count} to install: {names}").format(count=len(missing), names=", ".join(missing)),
        )
    return Check(GOOD, _("Packages"), _("all there"))


def pathCheck(prefix, system, longPathsAllowed):
    """Windows refuses paths over 260 characters, and wheels hold long ones."""
    length = len(str(prefix)) + len("\\Lib\\site-packages\\") + LONGEST_WHEEL_PATH
    if system != "nt" or longPathsAllowed or length <= WINDOWS_PATH_LIMIT:
        return None
    return Check(
        PROBLEM,
        _("Path length"),
        _("3D Slicer is installed in a deep folder, and Windows refuses paths over 260 characters. ")
        + _("Install 3D Slicer in a short folder such as C:\\Slicer, or allow long paths in Windows."),
    )


def diskCheck(freeBytes):
    text = _("{free:.0f} GB free").format(free=freeBytes / 1e9)
    if freeBytes < NEEDED_DISK_BYTES:
        return Check(PROBLEM, _("Disk"), text + ". " + _("At least 2 GB are needed: free some space."))
    return Check(GOOD, _("Disk"), text)


def memoryCheck(totalBytes):
    if totalBytes is None:
        return None
    text = _("{total:.0f} GB").format(total=totalBytes / 1e9)
    if totalBytes < NEEDED_MEMORY_BYTES:
        return Check(WARNING, _("Memory"), text + ". " + _("Little: close other programs, crop large scans."))
    return Check(GOOD, _("Memory"), text)


def torchState():
    """``None`` (absent), ``"broken"`` (half installed), or its version."""
    try:
        distribution = importlib.metadata.distribution("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
    # An interrupted installation leaves metadata without a list of files, or files that are not there.
    files = distribution.files
    if not files or not distribution.locate_file("torch/__init__.py").exists():
        return "broken"
    return distribution.version


def torchCheck(state, gpu):
    """Torch is only of use with an NVIDIA GPU (or Apple's); without one nothing is missing."""
    title = _("PyTorch")
    if state == "broken":
        return Check(
            PROBLEM,
            title,
            _("An interrupted installation left it half there. ")
            + _("Open the PyTorch module (PyTorch extension), uninstall it there and restart 3D Slicer."),
        )
    if gpu and state is None:
        return Check(WARNING, title, _("Not installed: the {gpu} is not used yet.").format(gpu=gpu))
    if gpu and state.endswith("+cpu"):
        return Check(
            WARNING,
            title,
            _("Version {version} is for processors only, so the {gpu} is not used. ").format(version=state, gpu=gpu)
            + _("Reinstall it in the PyTorch module."),
        )
    return Check(GOOD, title, state) if gpu else None


def processorCheck(system, machine, underRosetta):
    if system == "Darwin" and underRosetta:
        return Check(WARNING, _("Processor"), _("An Intel build of 3D Slicer runs on Apple silicon: slow, and no GPU."))
    return None


def networkCheck(reachable):
    if reachable:
        return Check(GOOD, _("Internet"), _("packages can be downloaded"))
    return Check(
        WARNING,
        _("Internet"),
        _("pypi.org cannot be reached. Use the offline installation of the README, or ask for the proxy's address."),
    )


def findNvidiaGpu():
    """Name of the first NVIDIA GPU by its own driver tool, without torch; None if there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        outcome = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=5,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = outcome.stdout.splitlines() if outcome.returncode == 0 else []
    return names[0].strip() if names and names[0].strip() else None


def totalMemory():
    """Bytes of memory, None where it cannot be told."""
    if os.name == "nt":
        return _windowsMemory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _windowsMemory():
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            *((name, ctypes.c_ulong) for name in ("length", "load")),
            *((f"n{number}", ctypes.c_ulonglong) for number in range(7)),
        )

    status = Status()
    status.length = ctypes.sizeof(status)
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return status.n0


def _longPathsAllowed():
    if os.name != "nt":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def _underRosetta():
    if platform.system() != "Darwin" or platform.machine() != "x86_64":
        return False
    try:
        outcome = subprocess.run(["sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return False
    return outcome.stdout.strip() == "1"


def _canReachPyPI():
    # Asked only when packages are about to be downloaded from there.
    try:
        socket.create_connection(("pypi.org", 443), timeout=2).close()
    except OSError:
        return bool(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"))
    return True
