"""slicer.packaging of Slicer 5.12 that checks for real and never installs: what pip would have got is noted.

``_requests`` lists (function, requirements, other arguments); ``_exit_code`` is what pip "answers" next.
"""

import subprocess
from importlib import metadata

from packaging.markers import default_environment
from packaging.requirements import Requirement

_requests = []
_exit_code = 0


def _to_requirements(requirements):
    if isinstance(requirements, Requirement):
        return [requirements]
    if isinstance(requirements, str):
        requirements = requirements.split()
    return [r if isinstance(r, Requirement) else Requirement(r) for r in requirements]


def load_requirements(path):
    with open(path) as lines:
        stripped = [line.strip() for line in lines]
    return [Requirement(line) for line in stripped if line and not line.startswith(("#", "-"))]


def load_pyproject_dependencies(path):
    import tomllib  # Python 3.11, as Slicer has

    with open(path, "rb") as file:
        content = tomllib.load(file)
    if "project" not in content:
        raise KeyError(f"pyproject.toml has no [project] table: {path}")
    return [Requirement(text) for text in content["project"].get("dependencies", [])]


def _satisfied(requirement, seen):
    if requirement.marker is not None and not requirement.marker.evaluate(default_environment()):
        return True
    key = (requirement.name.lower(), frozenset(requirement.extras))
    if key in seen:
        return True
    seen.add(key)
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    if installed not in requirement.specifier:
        return False
    return all(_satisfied(needed, seen) for needed in _needed_by_extras(requirement))


def _needed_by_extras(requirement):
    for text in metadata.requires(requirement.name) or []:
        needed = Requirement(text)
        if needed.marker is not None and any(
            needed.marker.evaluate({**default_environment(), "extra": extra}) for extra in requirement.extras
        ):
            yield Requirement(text.split(";")[0].strip())


def pip_check(req):
    seen = set()
    return all(_satisfied(requirement, seen) for requirement in _to_requirements(req))


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    import slicer

    missing = [r for r in _to_requirements(requirements) if not pip_check(r)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    names = [str(r) for r in missing]
    if prompt_install and not slicer.util.confirmOkCancelDisplay(
        f"{requester or 'A module'} needs these Python packages: {', '.join(names)}"
    ):
        raise RuntimeError("User declined package installation")
    return pip_install(
        names, constraints=constraints, skip_packages=skip_packages, requester=requester, show_progress=show_progress
    )


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    if skip_packages and (no_deps_requirements or not blocking):
        raise ValueError("skip_packages can be combined neither with no_deps_requirements nor with blocking=False")
    return _pip(
        "pip_install",
        requirements,
        blocking,
        completedCallback,
        {
            "constraints": constraints,
            "no_deps_requirements": no_deps_requirements,
            "skip_packages": skip_packages,
            "requester": requester,
        },
    )


def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
    return _pip("pip_uninstall", requirements, blocking, completedCallback, {})


def _pip(function, requirements, blocking, completedCallback, others):
    import qt

    _requests.append((function, requirements, others))
    code = _exit_code
    if not blocking:
        if completedCallback is not None:
            qt.QTimer.singleShot(0, lambda: completedCallback(code))
    elif code:
        raise subprocess.CalledProcessError(code, ["pip", function.removeprefix("pip_"), str(requirements)])
    return [] if others.get("skip_packages") else None


def isPipInstallInProgress():
    return False
