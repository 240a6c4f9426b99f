"""How much faster N processes do a cohort than one: ``python Testing/benchmarks/batch_throughput.py --jobs 1,2,4``.

Makes a cohort of copies of one scan, runs ``kidneyseg batch`` on it for each number of processes, each with its share
of the processors, and prints cases an hour, measured from the first finished case to the last (loading is in neither).
With ``--scheduler`` it measures a Dask cluster as it stands instead. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from KidneySegLib.cohort import BatchSettings, BatchState, run_batch
from KidneySegLib.inference.threads import thread_count


@dataclass
class Stopwatch:
    """When the first and the last case were finished, and how many lay between."""

    first_s: float | None = None
    last_s: float = 0.0
    first_count: int = 0
    count: int = 0

    def __call__(self, state: BatchState) -> None:
        if state.made + state.failed == self.count:
            return
        self.count = state.made + state.failed
        self.last_s = time.monotonic()
        if self.first_s is None:
            self.first_s, self.first_count = self.last_s, self.count

    @property
    def cases_per_hour(self) -> float | None:
        span_s = self.last_s - (self.first_s or self.last_s)
        return 3600.0 * (self.count - self.first_count) / span_s if span_s > 0 else None


def measure(cohort: Path, output: Path, settings: BatchSettings, **where: Any) -> dict[str, Any]:
    """Run the cohort once, from nothing."""
    shutil.rmtree(output, ignore_errors=True)
    watch = Stopwatch()
    begin_s = time.monotonic()
    result = run_batch(cohort, output, settings, listener=watch, **where)
    if result.state.failed:
        raise SystemExit(f"cases failed: {dict(result.failures)}")
    per_hour = watch.cases_per_hour
    return {
        **{key: value for key, value in where.items() if value is not None},
        "cases": result.state.made,
        "seconds_with_loading": round(time.monotonic() - begin_s, 1),
        "cases_per_hour": None if per_hour is None else round(per_hour, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, required=True, help="a scan that is copied")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--jobs", default="1,2", help="numbers of processes, comma separated")
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--scheduler", help="measure this Dask cluster instead")
    parser.add_argument("--output", type=Path, help="also write the figures here, as JSON")
    options = parser.parse_args()
    settings = BatchSettings(model=options.model, device=options.device)
    with tempfile.TemporaryDirectory(prefix="kidneyseg-throughput-") as folder:
        cohort = Path(folder) / "cohort"
        for index in range(options.cases):
            (cohort / f"case_{index:04d}").mkdir(parents=True)
            name = "".join(options.scan.suffixes[-2:])
            shutil.copyfile(options.scan, cohort / f"case_{index:04d}" / f"scan{name}")
        runs = []
        if options.scheduler:
            runs.append(measure(cohort, Path(folder) / "out", settings, scheduler=options.scheduler))
        else:
            for jobs in map(int, options.jobs.split(",")):
                runs.append(measure(cohort, Path(folder) / "out", settings, processes=jobs))
                print(runs[-1], flush=True)
    report = {
        "platform": platform.platform(),
        "processors": thread_count(),
        "load_at_the_end": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "runs": runs,
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
