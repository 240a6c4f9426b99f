"""The small Python packages that the engine needs inside 3D Slicer: asked for once, when needed, on the main thread.

Never at import. Never torch on a computer without an NVIDIA GPU. numpy and SimpleITK stay as Slicer ships them.
"""

import importlib
import importlib.metadata
import logging
import re
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "requirements.txt"
KEPT_PACKAGES = ("numpy", "SimpleITK", "torch")


class InstallationProblem(Exception):
    """Packages could not be installed; the message says what to try."""


def requirementLines(path=REQUIREMENTS):
    """Requirements of the file, without comments."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def missingPackages(path=REQUIREMENTS):
    """Requirements that are not met here."""
    importlib.invalidate_caches()
    return [line for line in requirementLines(path) if not _isMet(line)]


def _isMet(line):
    match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?", line)
    if not match:
        raise ValueError(f"a requirement must be NAME or NAME>=VERSION, got {line!r}")
    try:
        installed = importlib.metadata.version(match[1])
    except importlib.metadata.PackageNotFoundError:
        return False
    return match[2] is None or _numbers(installed) >= _numbers(match[2])


def _numbers(version):
    # Trailing zeros do not matter: 3.0 meets 3.
    numbers = [int(part) for part in re.match(r"[0-9.]*", version)[0].strip(".").split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def installPackages():
    """Ask, then install what is missing. Returns whether all is there now.

    :raises InstallationProblem: if pip failed.
    """
    missing = missingPackages()
    if not missing:
        return True
    try:
        with tempfile.TemporaryDirectory() as folder:
            constraints = _writeConstraints(Path(folder))
            if not _install(missing, constraints):
                return False
    except Exception as error:
        logging.exception("KidneySeg: installing packages failed")
        raise InstallationProblem(
            _(
                "The packages could not be installed ({reason}). Without internet, or behind a firewall: see "
                "'Offline installation' in the README (a folder of wheels is all it takes)."
            ).format(reason=error)
        ) from error
    return not missingPackages() or slicer.app.testingEnabled()


def _install(missing, constraints):
    try:
        from slicer import packaging
    except ImportError:  # before 3D Slicer 5.12
        return _installTheOlderWay(missing, constraints)
    try:
        packaging.pip_ensure(missing, constraints=constraints, requester="KidneySeg")
    except RuntimeError as error:
        if "declined" in str(error).lower():
            return False
        raise
    return True


def _installTheOlderWay(missing, constraints):
    if slicer.app.testingEnabled():
        logging.info("Testing mode: not installing %s", ", ".join(missing))
        return True
    message = _(
        "KidneySeg needs {count} Python packages (about 100 MB). They are installed into 3D Slicer, not elsewhere on "
        "this computer. Install them now?"
    ).format(count=len(missing))
    if not slicer.util.confirmOkCancelDisplay(
        message, _("KidneySeg: install packages"), detailedText="\n".join(missing)
    ):
        return False
    slicer.util.pip_install([*missing, "-c", str(constraints)])
    return True


def _writeConstraints(folder):
    """What must not change: the versions that this Slicer came with."""
    lines = []
    for name in KEPT_PACKAGES:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    path = folder / "constraints.txt"
    # A version of a build of one's own (+cu128) is on no index, but pip keeps it when it satisfies the constraint.
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
