#!/usr/bin/env python3
"""Run Slicer's own Python tests (Base/Python/slicer/tests) on the host.

usage: python Testing/slicer_host/oracles/run_slicer_tests.py CHECKOUT [--own-layer] [pytest arguments...]

CHECKOUT holds a copy of Slicer's sources. Its Base/Python gives slicer.parameterNodeWrapper and the like; with
--own-layer
those of the host are tested in their place. Set SLICER_HOST_API to an untrimmed API manifest: these tests use more
classes
than the project does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def keep_pip_out(folder: Path) -> None:
    """Some of these tests install a package: into `folder`, not into the environment that runs them."""
    os.environ["PIP_TARGET"] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    sys.path.append(str(folder))


class SampleVolumes:
    """pytest plugin: each test file starts with volumes loaded, as Slicer's CTest does; made-up ones of the
    same names.
    """

    NAMES = ("MR-head", "T1", "T1_longname", "T1_uncompressed", "pd_z-_float_xyz")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: Path | None = None

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.path != self.file:
            self.file = item.path
            self.load()

    def load(self) -> None:
        import numpy as np
        import slicer

        slicer.mrmlScene.Clear(0)
        for name in self.NAMES:
            path = self.folder / f"{name}.nrrd"
            if not path.exists():
                volume = slicer.util.addVolumeFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5), name=name)
                slicer.util.saveNode(volume, str(path))
                slicer.mrmlScene.RemoveNode(volume)
            slicer.util.loadVolume(str(path))


def main(arguments: list[str]) -> int:
    if not arguments:
        raise SystemExit(__doc__)
    checkout = Path(arguments[0]).resolve()
    own_layer = "--own-layer" in arguments
    rest = [a for a in arguments[1:] if a != "--own-layer"]
    from slicer_host import install

    host = install(base_python=None if own_layer else checkout / "Base" / "Python", share=checkout / "Resources")
    sample_data = checkout / "Modules" / "Scripted" / "SampleData"
    if sample_data.is_dir():
        sys.path.append(str(sample_data))
    hierarchy = checkout / "Modules" / "Loadable" / "SubjectHierarchy"
    if hierarchy.is_dir() and not own_layer:
        sys.path.append(str(hierarchy))
        import SubjectHierarchyLib.parameterNodeWrapper.guiConnectors  # noqa: F401
    keep_pip_out(host.folder / "pip")
    tests = checkout / "Base" / "Python" / "slicer" / "tests"
    return pytest.main(
        [
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xvfb",
            "--tb=line",
            "-rfE",
            "--rootdir",
            str(tests),
            *(rest or [str(tests)]),
        ],
        plugins=[SampleVolumes(host.folder)],
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
