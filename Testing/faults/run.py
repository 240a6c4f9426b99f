"""``make faults``: all faults, 200 kills among them, and ``faults.json`` with what came of them."""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Testing.faults import kills, others
from Testing.faults.stage import TOP, Harm, Stage, build_stage

#: Of 200 kills: batches, single runs, data sets.
SHARES = (0.7, 0.15, 0.15)


def run_faults(folder: Path, kill_count: int, seed: int, disk_steps: int = 16) -> dict[str, Any]:
    """Try everything in a folder; returns what ``faults.json`` holds."""
    begin_s = time.monotonic()
    stage = build_stage(folder / "stage")
    rng = random.Random(seed)
    report: dict[str, Any] = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "seed": seed,
        "faults": {},
    }
    scenes: dict[str, Callable[[Stage, Path], Any]] = {
        "disk_full_at_every_write": lambda stage, place: others.disk_full(stage, place, disk_steps),
        "disk_full_in_a_batch": lambda stage, place: others.disk_full_in_a_batch(stage, place, max(1, disk_steps // 4)),
        "permission_lost": others.permission_lost,
        "out_of_memory": others.out_of_memory,
        "clock_jumps": others.clock_jumps,
        "two_runs_into_one_folder": others.two_at_once,
    }
    for name, scene in scenes.items():
        place = folder / name
        place.mkdir()
        place.chmod(0o755)
        try:
            facts = {"survived": True, **scene(stage, place)}
        except PermissionError as error:
            facts = {"survived": None, "skipped": str(error)}
        except Harm as harm:
            facts = {"survived": False, "harm": str(harm)}
        report["faults"][name] = facts
        print(f"{name}: {facts}", flush=True)
    counts = kills.Killed()
    batches, singles = (round(share * kill_count) for share in SHARES[:2])
    try:
        kills.kill_batches(stage, folder, batches, rng, counts)
        kills.kill_single_runs(stage, folder, singles, rng, counts)
        kills.kill_data_set_writers(folder, kill_count - batches - singles, rng, counts)
    except Harm as harm:
        counts.harms.append(str(harm))
    report["kills"] = {"total": counts.total, **asdict(counts)}
    report["rows_lost"] = counts.rows_lost
    tried = [facts["survived"] for facts in report["faults"].values() if facts["survived"] is not None]
    report["faults_tried"] = len(tried) + counts.total
    report["faults_survived"] = sum(tried) + counts.total - len(counts.harms)
    report["minutes"] = round((time.monotonic() - begin_s) / 60, 1)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=TOP / "faults.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kidneyseg-faults-") as folder:
        Path(folder).chmod(0o755)
        report = run_faults(Path(folder), options.kills, options.seed)
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{report['faults_survived']} of {report['faults_tried']} faults survived, rows lost: {report['rows_lost']}")
    return 0 if report["faults_survived"] == report["faults_tried"] else 1


if __name__ == "__main__":
    sys.exit(main())
