"""Run the panel's tests in a real 3D Slicer: the same files that the test host runs.

    Slicer --testing --additional-module-paths KidneySeg --python-script Testing/run_in_slicer.py

Exits with 1 when a test fails. `slicer_add_python_test` in KidneySeg/CMakeLists.txt runs this file too.
"""

import sys
import traceback
import unittest
from pathlib import Path

import slicer

TESTING = Path(__file__).resolve().parent


def load_tests():
    """All tests of Testing/panel; none of them needs the test host."""
    for folder in (TESTING.parent, TESTING.parent / "KidneySeg", TESTING / "panel"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return unittest.defaultTestLoader.discover(
        str(TESTING / "panel"), pattern="test_*.py", top_level_dir=str(TESTING / "panel")
    )


def main():
    if not hasattr(slicer.modules, "kidneyseg"):
        print(
            "The module KidneySeg is not loaded: start Slicer with --additional-module-paths KidneySeg", file=sys.stderr
        )
        return slicer.util.EXIT_FAILURE
    result = unittest.TextTestRunner(verbosity=2).run(load_tests())
    return slicer.util.EXIT_SUCCESS if result.wasSuccessful() and result.testsRun else slicer.util.EXIT_FAILURE


if __name__ == "__main__":
    try:
        status = main()
    except Exception:
        traceback.print_exc()
        status = slicer.util.EXIT_FAILURE
    slicer.util.exit(status)
