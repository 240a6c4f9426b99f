"""Makes the held-out phantoms that a model for abnormality is measured on, for ``kidneyseg batch`` and ``evaluate``.

    python Testing/benchmarks/abnormal_phantoms.py OUT    OUT/abnormal: 40 with cysts or masses, OUT/normal: 20 without

Half are arterial, half nephrographic, slices as in `held_out_phantoms`; seeds lie below 500 000, which nothing trains
on. Cases that are there already are kept, so several processes may share the work (``--part 0/2``, ``--part 1/2``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.scene import Scene
from KidneySegLib.training.seeds import TEST_SEEDS
from Testing.benchmarks.patients import case_name, sample_patients

#: Group: first seed, cases, kinds of patient in turn.
GROUPS = {
    "abnormal": (300_001, 40, ("cysts", "large_cysts", "mass", "large_mass")),
    "normal": (310_001, 20, ("normal", "small_kidney", "malrotated", "atrophic")),
}


def has_lesion(scene: Scene) -> bool:
    return any(lesion.kind != "stone" for lesion in scene.lesions)


def has_no_lesion(scene: Scene) -> bool:
    return not has_lesion(scene)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th case from the I-th")
    options = parser.parse_args(arguments)
    part, parts = (int(v) for v in options.part.split("/"))
    for group, (seed, cases, variants) in GROUPS.items():
        # Normal variants have small cysts now and then; those patients are passed over.
        wanted = has_lesion if group == "abnormal" else has_no_lesion
        for number, scene in enumerate(sample_patients(seed, cases, variants, wanted)):
            assert scene.seed in TEST_SEEDS
            folder = options.output / group / case_name(scene)
            if number % parts == part and not (folder / "truth.json").exists():
                write_case(folder, scene.seed, scene.variant, phase=scene.phase)
                print(folder.name, scene.phase, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
