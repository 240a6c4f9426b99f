"""The benchmark's picture: ``python Testing/benchmarks/picture.py [benchmark.json] [out.png]``.

Left: nnU-Net's figure over ours, with the spread of alternating pairs. Right: where the seconds of a whole job go.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmark.json"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "Resources" / "Screenshots" / "benchmark.png"
    draw(json.loads(source.read_text()), target)
    print(target)
