"""Freed memory goes back to the system, or is kept for a while, and nothing else changes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

GIVEN_BACK = """
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

KEPT = """
import resource
from KidneySegLib.inference.heap import freed_memory_kept
def faults_of_large_blocks():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"1" * (64 << 20)  # From the system each time, and back. Not numpy's, which asks for pages of 2 MiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
outside = faults_of_large_blocks()
with freed_memory_kept():
    b"1" * (64 << 20)
    within = faults_of_large_blocks()
print(outside, within, faults_of_large_blocks())
"""
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in " ".join(platform.libc_ver()),
    reason="only glibc keeps freed blocks and can be told what to do with them",
)


def _printed(code: str) -> list[float]:
    top = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def test_freed_blocks_below_a_kept_one_go_back() -> None:
    (mebibytes,) = _printed(GIVEN_BACK)
    assert mebibytes > 50


def test_large_blocks_have_the_memory_of_those_before_them_while_it_is_kept() -> None:
    outside, within, afterwards = _printed(KEPT)
    pages_of_a_block = (64 << 20) / os.sysconf("SC_PAGE_SIZE")
    assert within < pages_of_a_block < outside
    assert afterwards > 0.9 * outside
