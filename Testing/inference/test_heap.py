"""Freed memory goes back to the system, and nothing else changes."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import numpy as np
from pathlib import Path
from KidneySegLib.inference.heap import give_back_freed
def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
blocks = [np.ones(2000) for _ in range(8000)]  # 16 kB each: from the heap, not mapped one by one.
kept = np.arange(10)
held = blocks[-1]
del blocks
before = resident()
give_back_freed()
assert (held == 1).all() and (kept == np.arange(10)).all()
print(before - resident())
"""


def test_freed_blocks_below_a_kept_one_go_back() -> None:
    if sys.platform != "linux" or "glibc" not in " ".join(platform.libc_ver()):
        pytest.skip("only glibc keeps freed blocks and can be told to give them back")
    top = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", CODE], cwd=top, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 50
