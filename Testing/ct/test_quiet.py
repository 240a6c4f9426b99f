"""Silence while reading, and nothing but silence: afterwards all is as it was, however many threads read."""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
import threading
import time
import warnings

import SimpleITK as sitk

from KidneySegLib.ct.quiet import quiet, quiet_stderr


def _many(enter: object, threads: int = 6, rounds: int = 40) -> None:
    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(rounds):
            with enter():  # type: ignore[operator]
                time.sleep(rng.random() * 1e-3)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_standard_error_comes_back_after_many_threads() -> None:
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as heard:
            os.dup2(heard.fileno(), 2)
            _many(quiet_stderr)
            with quiet_stderr():
                os.write(2, b"chatter")
            os.write(2, b"heard")
            heard.seek(0)
            assert heard.read() == b"heard"
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_warnings_come_back_after_many_threads() -> None:
    logger = logging.getLogger("pydicom")
    before = (list(warnings.filters), logger.propagate, list(logger.handlers), _shown())
    _many(quiet)
    with quiet():
        assert not logger.propagate
        assert not _shown()
    assert (list(warnings.filters), logger.propagate, list(logger.handlers), _shown()) == before


def _shown() -> bool:
    return bool(sitk.ProcessObject.GetGlobalWarningDisplay())
