"""Run the panel's tests in a real 3D Slicer: the same files that the test host runs.

    Slicer --no-splash --testing --additional-module-paths KidneySeg --python-script Testing/run_in_slicer.py

Ends Slicer with exit status 0 if all passed, 1 if not.
"""

import sys
import traceback
import unittest
from pathlib import Path

import slicer

ROOT = Path(__file__).resolve().parents[1]


def run():
    """Whether all tests of Testing/panel passed."""
    for folder in (ROOT, ROOT / "KidneySeg", ROOT / "Testing" / "panel"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    suite = unittest.defaultTestLoader.discover(str(ROOT / "Testing" / "panel"), pattern="test_*.py")
    return unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()


if __name__ == "__main__":
    try:
        status = 0 if run() else 1
    except Exception:
        traceback.print_exc()
        status = 1
    slicer.util.exit(status)
