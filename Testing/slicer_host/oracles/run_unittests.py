#!/usr/bin/env python3
"""Run the unittest cases of a released extension on the host.

usage: python Testing/slicer_host/oracles/run_unittests.py --base-python CHECKOUT/Base/Python --path FOLDER MODULE.py
TESTCASE.py...

MODULE.py is loaded first; each TESTCASE.py is imported from the folder beside it. Exits with 1 when one fails.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def sample_data() -> types.ModuleType:
    """A SampleData module without a network: every download gives a small made-up volume."""
    import numpy as np
    import slicer

    class SampleDataLogic:
        def downloadDentalSurgery(self):
            return [
                slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16), name=name)
                for name in ("PreDentalSurgery", "PostDentalSurgery")
            ]

        def downloadMRHead(self):
            return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16), name="MRHead")

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    return module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-python", type=Path)
    parser.add_argument("--path", type=Path, action="append", default=[])
    parser.add_argument("module", type=Path)
    parser.add_argument("cases", nargs="+", type=Path)
    arguments = parser.parse_args()
    from slicer_host import install

    host = install(base_python=arguments.base_python)
    sys.path[:0] = [str(folder.resolve()) for folder in arguments.path]
    sys.modules["SampleData"] = sample_data()
    host.load_module(arguments.module)
    suite = unittest.TestSuite()
    for case in arguments.cases:
        sys.path.insert(0, str(case.resolve().parent.parent))
        suite.addTests(
            unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(f"{case.parent.name}.{case.stem}"))
        )
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    print(
        f"{result.testsRun - len(result.failures) - len(result.errors)} of {result.testsRun} pass; "
        f"{len(host.errors)} exceptions in slots or observers"
    )
    return int(not result.wasSuccessful())


if __name__ == "__main__":
    raise SystemExit(main())
