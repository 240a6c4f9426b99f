"""``make fuzz``: at least 10,000 damaged files, and ``fuzz.json`` with what became of them.

Child processes with limits of memory and time do the work; one that is taken down is started again behind the
mutation that did it. The same seed makes the same mutations: ``--seed S --only N`` does one again, here, to debug.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from Testing.fuzz.child import MEMORY_BYTES, SECONDS  # noqa: E402

#: Mutations of one process.
BATCH = 250
#: Wall time of one process without any progress: it hangs without using the processor.
_STUCK_S = 600.0


def run_fuzz(mutations: int, seed: int, processes: int = 1, batch: int = BATCH) -> dict[str, Any]:
    """Try mutations; returns what ``fuzz.json`` holds."""
    begin_s = time.monotonic()
    ends: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    crashes: list[dict[str, Any]] = []
    slowest_s = peak_bytes = 0.0
    with tempfile.TemporaryDirectory(prefix="kidneyseg-fuzz-") as folder, ThreadPoolExecutor(processes) as pool:
        starts = range(0, mutations, batch)
        parts = pool.map(
            lambda first: _range(Path(folder) / str(first), seed, first, min(batch, mutations - first)), starts
        )
        for number, part in enumerate(parts, start=1):
            for piece in part:
                ends.update(piece["ends"])
                kinds.update(piece["kinds"])
                crashes += piece["crashes"]
                for crash in piece["crashes"]:
                    print(f"mutation {crash['mutation']}: {crash['what']}", file=sys.stderr, flush=True)
                slowest_s = max(slowest_s, piece["slowest_s"])
                peak_bytes = max(peak_bytes, piece["peak_bytes"])
            print(f"{min(number * batch, mutations)} of {mutations}: {dict(ends)}", file=sys.stderr, flush=True)
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "seed": seed,
        "mutations": sum(ends.values()),
        "ends": dict(ends),
        "kinds": dict(kinds),
        "crashes": len(crashes),
        "details": crashes[:50],
        "slowest_s": slowest_s,
        "seconds_allowed": SECONDS,
        "peak_bytes": int(peak_bytes),
        "memory_allowed_bytes": MEMORY_BYTES,
        "minutes": round((time.monotonic() - begin_s) / 60, 1),
    }


def _range(folder: Path, seed: int, first: int, count: int) -> list[dict[str, Any]]:
    """Mutations ``first`` to ``first + count``, whatever it takes."""
    pieces = []
    end = first + count
    folder.mkdir(parents=True)
    while first < end:
        journal = folder / "journal"
        journal.write_bytes(f"{first - 1:12d}".encode())
        command = [sys.executable, "-m", "Testing.fuzz.child", str(folder / "files"), str(seed), str(first)]
        process = subprocess.Popen(
            [*command, str(end - first), str(journal)],
            cwd=TOP,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, errors, stuck = _watch(process, journal)
        if process.returncode == 0:
            pieces.append(json.loads(out))
            return pieces
        victim = int(journal.read_bytes())
        if victim < first:
            raise RuntimeError(f"the fuzzing process did not start: {errors.decode(errors='replace')[-2000:]}")
        what = "stuck" if stuck else f"the process ended with {process.returncode}"
        crash = {"mutation": victim, "what": what, "traceback": errors.decode(errors="replace")[-2000:]}
        # What was done before it in this process is counted, without its details.
        pieces.append(
            {
                "ends": {"before_a_crash": victim - first, "crash": 1},
                "kinds": {},
                "crashes": [crash],
                "slowest_s": 0.0,
                "peak_bytes": 0,
            }
        )
        first = victim + 1
    return pieces


def _watch(process: subprocess.Popen[bytes], journal: Path) -> tuple[bytes, bytes, bool]:
    """Output, errors, and whether it had to be killed because nothing moved."""
    last, since_s = b"", time.monotonic()
    while True:
        try:
            return (*process.communicate(timeout=5), False)
        except subprocess.TimeoutExpired:
            now = journal.read_bytes()
            if now != last:
                last, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > _STUCK_S:
                process.kill()
                return (*process.communicate(), True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--only", type=int, help="do one mutation again")
    parser.add_argument("--output", type=Path, default=TOP / "fuzz.json")
    options = parser.parse_args()
    if options.only is not None:
        pieces = _range(Path(tempfile.mkdtemp()) / "one", options.seed, options.only, 1)
        print(json.dumps(pieces, indent=1).replace("\\n", "\n"))
        return 0
    report = run_fuzz(options.mutations, options.seed, options.processes)
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{report['mutations']} mutations: {report['ends']}; {report['crashes']} crashes")
    return 1 if report["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
