"""The benchmark's pictures: ``python Testing/benchmarks/picture.py [benchmark.json] [FOLDER]``.

benchmark.png, left: nnU-Net's figure over ours, with the spread of alternating pairs; right: where the seconds of a
whole job go. benchmark-slices.png, where that was measured: seconds and memory by length of the scan.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BLUE, ORANGE, QUIET = "#0072b2", "#d55e00", "#667085"
NAMES = {
    "network_bfloat16": "network, bfloat16",
    "network_float32": "network, float32",
    "outside_network": "outside the network",
    "whole_job": "whole job",
    "peak_memory": "peak memory",
}
#: Stages of a job in their order, and the colour of each.
STAGES = {
    "load": "#bbbbbb",
    "read": "#56b4e9",
    "localise": "#009e73",
    "preprocess": "#f0e442",
    "network": "#0072b2",
    "resample": "#d55e00",
    "postprocess": "#cc79a7",
    "check": "#999999",
    "measure": "#e69f00",
    "write": "#444444",
}


def draw(record: Mapping[str, Any], path: Path) -> None:
    """Write the picture of a ``benchmark.json``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.4), width_ratios=(1, 1.25))
    names = [n for n in NAMES if n in record["ratios"]]
    for row, name in enumerate(reversed(names)):
        value, spread = record["ratios"][name], record["spread"][name]
        left.barh(row, value, color=BLUE, height=0.6)
        left.plot([spread["least"], spread["greatest"]], [row, row], color="black", linewidth=1.2)
        left.text(max(value, spread["greatest"]) * 1.08, row, f"{value:.1f}x", va="center")
    left.set_yticks(range(len(names)), [NAMES[n] for n in reversed(names)])
    left.set_xscale("log")
    left.set_xlim(0.8, max(record["ratios"].values()) * 3)
    left.axvline(1, color=QUIET, linewidth=0.8)
    left.set_title("nnU-Net's own predictor over KidneySeg", fontsize=10)
    main = next(s for s in record["scans"].values() if {"nnunet", "ours"} <= set(s.get("whole", {})))
    bars = {"nnU-Net": main["whole"]["nnunet"], "KidneySeg": main["whole"]["ours"]}
    for row, side in enumerate(reversed(bars.values())):
        done = 0.0
        for stage, colour in STAGES.items():
            seconds = side["seconds"].get(stage, 0.0)
            right.barh(row, seconds, left=done, color=colour, height=0.6, label=stage if row else None)
            done += seconds
        right.text(done, row, f" {side['wall_seconds']:.0f} s", va="center")
    right.set_yticks(range(2), list(reversed(bars)))
    right.set_xlim(0, bars["nnU-Net"]["wall_seconds"] * 1.15)
    right.set_xlabel("seconds")
    right.set_title(f"one case, {main['scan']}: the same weights", fontsize=10)
    right.legend(fontsize=7, ncols=5, loc="center", frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    machine = record["machine"]
    figure.text(
        0.01,
        0.01,
        f"{machine['processor']}, {machine['threads']} threads, AMX: {'yes' if machine['amx_bf16'] else 'no'}; "
        f"nnunetv2 {record['versions']['nnunetv2']}, mirroring off",
        fontsize=7,
        color=QUIET,
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def draw_slices(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the picture of ``slices`` in a ``benchmark.json``: cost by length of a scan whose kidneys stay the same."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.2))
    slices = [row["scan"][2] for row in rows]
    gigabytes = 1e-9
    for axes, title, lines in (
        (
            left,
            "seconds of a case, model ready",
            {
                "case": [row["warm_case_seconds"] for row in rows],
                **{stage: [row["warm_stage_seconds"][stage] for row in rows] for stage in ("localise", "network")},
            },
        ),
        (
            right,
            "GB",
            {
                "peak memory": [row["peak_resident_bytes"] * gigabytes for row in rows],
                "of which the scan itself": [row["scan_bytes"] * gigabytes for row in rows],
            },
        ),
    ):
        for (name, values), colour in zip(lines.items(), (BLUE, ORANGE, QUIET), strict=False):
            axes.plot(slices, values, "o-", color=colour, label=name, markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("slices of 1 mm, 512 x 512")
        axes.set_ylim(0)
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmark.json"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "Resources" / "Screenshots"
    record = json.loads(source.read_text())
    draw(record, folder / "benchmark.png")
    if "slices" in record:
        draw_slices(record["slices"], folder / "benchmark-slices.png")
    print(folder)
