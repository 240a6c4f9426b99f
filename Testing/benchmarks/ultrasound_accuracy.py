"""Accuracy of an ultrasound model on held-out synthetic pictures: ``ultrasound_accuracy.py OUT [--cases 1000]``.

The pictures are those of the seeds from ``--seed`` on, which are never trained on (`training.seeds.TEST_SEEDS`). They
go the way of any picture: view found, text left out, outlined; the masks are scored as `kidneyseg evaluate --task
ultrasound` scores them. ``--record`` writes the result into the model's own description (metrics.held_out).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from KidneySegLib.evaluation.ultrasound import Pair, evaluate_masks, summary_of  # noqa: E402
from KidneySegLib.training.seeds import TEST_SEEDS  # noqa: E402
from KidneySegLib.ultrasound.image import make_image  # noqa: E402
from KidneySegLib.ultrasound.network import UltrasoundNetwork  # noqa: E402
from KidneySegLib.ultrasound.outline import outline_frames  # noqa: E402
from KidneySegLib.ultrasound.store import find_ultrasound_bundle  # noqa: E402
from KidneySegLib.ultrasound.synthetic import synthetic_image  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for scores and confusion matrices")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture (default: 0)")
    parser.add_argument("--model", help="name or folder (default: the shipped demonstration)")
    parser.add_argument("--record", action="store_true", help="write the result into the model's description")
    options = parser.parse_args()
    if options.seed + options.cases - 1 not in TEST_SEEDS:
        parser.error(f"seeds must be {TEST_SEEDS.first} to {TEST_SEEDS.last}: others may have been trained on")
    # A text without a separator is a name; a folder may be given as it is.
    model = Path(options.model) if options.model and Path(options.model).is_dir() else options.model
    network = UltrasoundNetwork(find_ultrasound_bundle(model), "cpu")

    def pairs() -> Iterator[Pair]:
        for index in range(options.cases):
            truth = synthetic_image(options.seed + index)
            image = make_image(truth.pixels[None], source=Path("synthetic"))
            yield f"{options.seed + index:06d}", outline_frames(image.frames, image.view, network)[0].mask, truth.kidney
            print(f"\r{index + 1} of {options.cases}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    done = evaluate_masks(pairs(), options.output)
    print(done.text)
    if options.record:
        from KidneySegLib.ultrasound.export import update_manifest

        held_out = {"seeds": [options.seed, options.seed + options.cases - 1], **summary_of(done)}
        update_manifest(network.bundle, metrics={**network.bundle.metrics, "held_out": held_out})


if __name__ == "__main__":
    main()
