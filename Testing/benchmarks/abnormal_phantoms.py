"""Makes the held-out phantoms that a model for abnormality is measured on, for ``kidneyseg batch`` and ``evaluate``.

    python Testing/benchmarks/abnormal_phantoms.py OUT    OUT/abnormal: 40 with cysts or masses, OUT/normal: 20 without

Half are arterial, half nephrographic, slices as in `held_out_phantoms`; seeds lie below 500 000, which nothing trains
on. Cases that are there already are kept, so several processes may share the work (``--part 0/2``, ``--part 1/2``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from KidneySegLib.phantom.output import write_case
from KidneySegLib.phantom.scene import sample_scene
from KidneySegLib.training.seeds import TEST_SEEDS

#: Group: first seed, cases, kinds of patient in turn.
GROUPS = {
    "abnormal": (300_001, 40, ("cysts", "large_cysts", "mass", "large_mass")),
    "normal": (310_001, 20, ("normal", "small_kidney", "malrotated", "atrophic")),
}
PHASES = ("arterial", "nephrographic")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th case from the I-th")
    options = parser.parse_args(arguments)
    part, parts = (int(v) for v in options.part.split("/"))
    for group, (seed, cases, variants) in GROUPS.items():
        made = 0
        while made < cases:
            variant, phase = variants[made % len(variants)], PHASES[made // len(variants) % len(PHASES)]
            lesions = [v for v in sample_scene(seed, variant=variant, phase=phase).lesions if v.kind != "stone"]
            # Normal variants have small cysts now and then; those patients are passed over.
            if bool(lesions) == (group == "abnormal"):
                assert seed in TEST_SEEDS
                folder = options.output / group / f"{variant}_{seed:06d}"
                if made % parts == part and not (folder / "truth.json").exists():
                    write_case(folder, seed, variant, phase=phase)
                    print(folder.name, phase, flush=True)
                made += 1
            seed += 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
