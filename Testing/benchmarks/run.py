"""The speed of this engine beside nnU-Net's own predictor: same weights, same scan, same run, in turn.

    make benchmark                    the main comparison: benchmark.json and tables
    make benchmark FULL=1             also other scans and networks, cost by slices, the training step
    python Testing/benchmarks/run.py --quick        tiny sizes, to see that everything runs: not for comparison
    python Testing/benchmarks/run.py --device cuda  on a graphics card, both sides
    python Testing/benchmarks/run.py --only isotropic slices   these parts of FULL=1, into the record that is there
    python Testing/benchmarks/run.py --only network training_step  in a new record too: some five minutes
    python Testing/benchmarks/picture.py            Resources/Screenshots/benchmark.png from benchmark.json

Models and scans are made once and kept in the user's cache folder. README.md in this folder says what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from Testing.benchmarks import extras, material, plans, record  # noqa: E402
from Testing.benchmarks.agreement import compare, measure_agreement, truth_dice  # noqa: E402
from Testing.benchmarks.limits import convolution_flops, measure_limits, processor  # noqa: E402
from Testing.benchmarks.outside import time_outside  # noqa: E402
from Testing.benchmarks.sides import extrapolated, run_side, settle_nnunet  # noqa: E402
from Testing.benchmarks.tiles import time_tiles  # noqa: E402
from Testing.benchmarks.weights import nnunet_network  # noqa: E402

#: How often each side is timed, in turn.
PAIRS = 5
#: What only FULL=1 measures, and ``--only`` by itself.
PARTS = ("isotropic", "slices", "training_step")
#: What ``--only`` also measures without the record of a run.
NETWORK = "network"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", default=os.environ.get("FULL", "") not in ("", "0"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument(
        "--tiles", type=int, default=0, help="of nnU-Net's whole job run only so many, and extrapolate: says so"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmark.json")
    parser.add_argument(
        "--only", nargs="+", choices=(NETWORK, *PARTS), default=(), help="only these, into the record of a run"
    )
    given = parser.parse_args()
    benchmark = Benchmark(given)
    if given.only:
        benchmark.add(given.only)
    else:
        benchmark.run()


class Benchmark:
    """One run; what is measured so far is written after each part, so that a stopped run leaves it."""

    def __init__(self, given: argparse.Namespace) -> None:
        from KidneySegLib.inference.threads import thread_count

        settle_nnunet()
        self.given, self.device, self.threads = given, given.device, thread_count()
        self.planned = plans.QUICK if given.quick else plans.THICK
        self.begin = time.perf_counter()
        self.record: dict[str, Any] = {
            "versions": {name: version(name) for name in ("nnunetv2", "torch", "openvino", "numpy", "kidneyseg")},
            "ratios": {},
            "spread": {},
            "scans": {},
            "agreement": {},
            "machine": {},
        }

    def say(self, text: str) -> None:
        print(f"[{(time.perf_counter() - self.begin) / 60:5.1f} min] {text}", flush=True)

    def save(self) -> None:
        self.record["minutes"] = (time.perf_counter() - self.begin) / 60
        part = self.given.output.with_suffix(".part")
        part.write_text(json.dumps(self.record, indent=1) + "\n")
        part.replace(self.given.output)

    def add(self, parts: Sequence[str]) -> None:
        """Measure some parts only, and put them into the record that is there."""
        if self.given.output.is_file():
            self.record = json.loads(self.given.output.read_text())
            if self.record["machine"]["processor"] != processor()["processor"]:
                raise SystemExit(f"{self.given.output} was measured on another machine: make benchmark first.")
        elif NETWORK in parts:
            self.measure_machine()
        else:
            raise SystemExit(f"{self.given.output} must be the record of a run: make benchmark first.")
        self.measure_parts(parts)
        record.print_record(self.record)

    def run(self) -> None:
        self.measure_machine()
        with tempfile.TemporaryDirectory() as folder:
            self.compare(self.planned, Path(folder), main=True)
            self.say("embedded model: whole job, cold start, second case")
            self.embedded(Path(folder))
            if self.given.full:
                self.measure_parts(PARTS)
        self.record["finished"] = True
        self.save()
        record.print_record(self.record)
        print(f"\n{self.given.output}")

    def measure_machine(self) -> None:
        self.say("machine")
        self.record["machine"] = {
            **processor(),
            "threads": self.threads,
            "limits": measure_limits(self.threads, self.device),
        }

    def compare(self, planned: plans.Planned, folder: Path, *, main: bool) -> None:
        """One network on its scan, both sides; the main one gives the record its ratios and the agreement."""
        scan_plan = plans.SCANS[planned.name]
        model, scan, found = self.network(planned)
        self.record["scans"][scan_plan.name] = found
        self.rate(found, main)
        precisions = [name.removeprefix("ours_") for name in found["tiles"] if name.startswith("ours_")]
        logits = folder / f"{scan_plan.name}.npy"
        theirs, ours = folder / f"{scan_plan.name}_nnunet.nii", folder / f"{scan_plan.name}_ours"
        count = tile_count(planned, scan_plan)
        tile = record.summary(found["tiles"]["nnunet_float32"])["median"]
        found["tiles_of_whole_scan"] = count
        self.say(
            f"whole job: ours, then nnU-Net's {count} tiles, some {(self.given.tiles or count) * tile / 60:.0f} min"
        )
        whole = {
            "ours": run_side(
                "ours", model=str(model.bundle), scan=str(scan.image), out=str(ours), device=self.device, again=True
            ),
            "nnunet": run_side(
                "nnunet",
                model=str(model.folder),
                scan=str(scan.image),
                out=str(theirs),
                device=self.device,
                logits=str(logits),
                tiles=self.given.tiles,
            ),
        }
        found["whole"] = {"nnunet": extrapolated(whole["nnunet"]), "ours": whole["ours"]}
        self.rate(found, main)
        self.say("outside the network: same logits, both sides in turn")
        found["outside"] = time_outside(model, scan, logits, folder, 3 if self.given.full or self.given.quick else 2)
        logits.unlink()
        self.rate(found, main)
        self.say("agreement of the masks")
        agreement = {
            **measure_agreement(model, scan, folder, precisions),
            "outside_network": found["outside"]["dice"],
            "weights": model.made,
        }
        if "extrapolated" not in found["whole"]["nnunet"]:
            mask = ours / "raw_labels.nii.gz"
            agreement[f"localised_{found['whole']['ours']['precision']}"] = compare(theirs, mask)
            agreement["nnunet_to_truth"] = truth_dice(theirs, scan.truth)
            agreement["ours_to_truth"] = truth_dice(mask, scan.truth)
        found["agreement"] = agreement
        if main:
            self.record["agreement"] = agreement
        self.save()

    def rate(self, found: dict[str, Any], main: bool) -> None:
        """Ratios of what was measured so far, written at once."""
        found["ratios"] = record.ratios_of(found)
        if main:
            self.record["ratios"] = {name: r["ratio"] for name, r in found["ratios"].items()}
            self.record["spread"] = found["ratios"]
        self.save()

    def network(self, planned: plans.Planned) -> tuple[material.Model, material.Scan, dict[str, Any]]:
        """One tile of a network's scan, both sides in turn: what is timed, and what was found."""
        self.say(f"model and scan, {extras.cache_note(material.cache_folder())}")
        model, scan = material.make_model(planned), material.make_scan(plans.SCANS[planned.name])
        found: dict[str, Any] = {"network": planned.title, "scan": scan.plan.title, "weights": model.made}
        self.say("network: one tile, both sides in turn")
        found.update(time_tiles(model, scan, PAIRS, self.device, self.threads))
        self.shares(model, found)
        return model, scan, found

    def shares(self, model: material.Model, found: dict[str, Any]) -> None:
        """The fraction of the machine's matrix rate that each side's network reaches."""
        plan = json.loads((model.folder / "plans.json").read_text())
        flops = convolution_flops(nnunet_network(plan, deep_supervision=False), model.planned.patch)
        found["tile_tflop"] = flops / 1e12
        limits = self.record["machine"]["limits"]
        found["share_of_limit"] = {
            name: flops / 1e12 / record.summary(values)["median"] / limits[f"matrix_{name.partition('_')[2]}_tflops"]
            for name, values in found["tiles"].items()
        }

    def embedded(self, folder: Path) -> None:
        scan = material.make_scan(plans.SCANS[self.planned.name])
        whole = run_side(
            "ours", model=None, scan=str(scan.image), out=str(folder / "embedded"), device=self.device, again=True
        )
        self.record["scans"]["embedded model"] = {"scan": scan.plan.title, "whole": {"ours": whole}}
        self.record["cold_start"] = extras.cold_start(3)
        self.save()

    def measure_parts(self, parts: Sequence[str]) -> None:
        if NETWORK in parts:
            *_, found = self.network(self.planned)
            self.record["network_alone"] = found
            self.rate(found, main=False)
        if "isotropic" in parts and not self.given.quick:
            with tempfile.TemporaryDirectory() as folder:
                self.compare(plans.ISOTROPIC, Path(folder), main=False)
        if "slices" in parts:
            self.say("cost by slices")
            self.record["slices"] = extras.by_slices((50, 100) if self.given.quick else extras.SLICES)
            self.save()
        if "training_step" in parts:
            self.say("training step")
            seconds = extras.training_step(material.make_model(self.planned), PAIRS)
            self.record["training_step"] = {**seconds, **record.ratio(seconds["nnunet"], seconds["ours"])}
            self.save()


def tile_count(planned: plans.Planned, scan: plans.ScanPlan) -> int:
    """Tiles that nnU-Net lays over a scan, half a tile apart."""
    from KidneySegLib.inference.spline import new_shape
    from KidneySegLib.inference.tiling import plan_tiles

    return plan_tiles(new_shape(scan.shape, scan.spacing_mm, planned.spacing_mm), planned.patch).count


if __name__ == "__main__":
    main()
