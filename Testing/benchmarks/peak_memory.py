"""Peak resident memory and seconds of the engine, by number of slices: the cost follows the kidneys, not the scan.

    python Testing/benchmarks/peak_memory.py                      512x512x800 at 1 mm
    python Testing/benchmarks/peak_memory.py --slices 100 --thickness 5
    python Testing/benchmarks/peak_memory.py --slices 50 100 200 400 800 1600
    python Testing/benchmarks/peak_memory.py --model kidneyseg-arterial

Each scan runs in a process of its own; its peak includes Python, the libraries and the scan itself. Unless ``--model``
names a bundle, the networks have the embedded model's size and weights set by hand, so that the answer is known: two
kidneys of 153 mL in a synthetic body. Prints one line of JSON a scan; processor seconds are those of all threads, and
say what the work costs on a machine that is busy with other things.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "Testing" / "inference"))

FINE_FEATURES = (16, 32, 64, 128, 256)
COARSE_FEATURES = (16, 32, 64, 128)
PIXEL_MM = 0.75
KIDNEY_RADII_MM = (25.0, 25.0, 58.5)


def make_models(folder: Path) -> None:
    """Bundles of real size with known answers; needs torch, so it has a process of its own."""
    import analytic_bundles as a

    from KidneySegLib.models import write_bundle

    coarse = a.localiser_spec(
        "coarse",
        network_arguments={"in_channels": 1, "out_channels": 6, "features": list(COARSE_FEATURES)},
        patch_size=(96, 96, 96),
        size_multiple=(8, 8, 8),
    )
    lines = [(0.0, 0.0), a.threshold_line(a.PARENCHYMA_HU)] + [(0.0, -50.0)] * 4
    write_bundle(folder / "coarse", coarse, a.pointwise_state(lines, COARSE_FEATURES))
    fine = a.spec(
        "fine",
        network_arguments={"in_channels": 1, "out_channels": 2, "features": list(FINE_FEATURES)},
        patch_size=(128, 128, 128),
        size_multiple=(16, 16, 16),
        localiser="coarse",
    )
    lines = [a.threshold_line(a.PARENCHYMA_HU), a.threshold_line(a.CORTEX_HU)]
    write_bundle(folder / "fine", fine, a.pointwise_state(lines, FINE_FEATURES))


def run_one(model: str, slices: int, thickness_mm: float, use_localiser: bool) -> dict[str, object]:
    """One scan through the engine, in this process."""
    import numpy as np
    import SimpleITK as sitk

    from KidneySegLib.inference import Engine

    image = sitk.Image([512, 512, slices], sitk.sitkInt16)
    image.SetSpacing([PIXEL_MM, PIXEL_MM, thickness_mm])
    fill(image)
    begin = time.perf_counter()
    engine = Engine(model if "/" not in model else Path(model), use_localiser=use_localiser)
    loaded = time.perf_counter()
    result = engine.run(image)
    first = time.perf_counter()
    used = time.process_time()
    result = engine.run(image)
    second = time.perf_counter()
    used = time.process_time() - used
    labels = sitk.GetArrayViewFromImage(result.labels)
    return {
        "scan": [512, 512, slices],
        "spacing_mm": [PIXEL_MM, PIXEL_MM, thickness_mm],
        "scan_bytes": 512 * 512 * slices * 2,
        "peak_resident_bytes": peak_resident_bytes(),
        "load_seconds": round(loaded - begin, 3),
        "first_case_seconds": round(first - loaded, 3),
        "warm_case_seconds": round(second - first, 3),
        "warm_case_processor_seconds": round(used, 3),
        "warm_stage_seconds": {stage: round(s, 3) for stage, s in result.seconds.items()},
        "precision": result.precision,
        "kidney_ml": round(float((labels > 0).sum()) * float(np.prod(image.GetSpacing())) / 1000, 1),
        "region_voxels": int(labels.size),
    }


def fill(image: object) -> None:
    """Paint air, a body and two kidneys into a scan, slice by slice: nothing of the scan's size is made beside it."""
    import numpy as np
    import SimpleITK as sitk

    assert isinstance(image, sitk.Image)
    columns, rows, slices = image.GetSize()
    thickness_mm = image.GetSpacing()[2]
    y, x = (np.arange(n, dtype=np.float32)[:, None].reshape(s) for n, s in ((rows, (-1, 1)), (columns, (1, -1))))
    x, y = (x - columns / 2) * PIXEL_MM, (y - rows / 2) * PIXEL_MM
    body = (x / 170) ** 2 + (y / 110) ** 2 <= 1
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (rows, columns))
    rx, ry, rz = KIDNEY_RADII_MM
    for k in range(slices):
        z = (k - slices / 2) * thickness_mm
        plane = np.where(body, 40, -1000) + noise
        for side in (-1, 1):
            inside = ((x - side * 75) / rx) ** 2 + ((y - 40) / ry) ** 2 + (z / rz) ** 2 <= 1
            plane[inside] += 120
        part = sitk.GetImageFromArray(plane.astype(np.int16)[None])
        image[:, :, k : k + 1] = part


def peak_resident_bytes() -> int:
    """The most memory that this process has had, as the system counts it."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    # Linux hands the greatest size of the process that started this one on to it, and counts it in getrusage.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=[800])
    parser.add_argument("--thickness", type=float, default=1.0, help="slice spacing in mm")
    parser.add_argument("--model", help="a bundle's name or path; default: networks of the same size made here")
    parser.add_argument("--no-localiser", action="store_true", help="search the whole body with the fine network")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make_models(given.make)
        return
    if given.here:
        print(json.dumps(run_one(given.model, given.slices[0], given.thickness, not given.no_localiser)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = given.model
        if model is None:
            subprocess.run([sys.executable, __file__, "--make", folder], check=True)
            model = str(Path(folder) / "fine")
        for slices in given.slices:
            command = [sys.executable, __file__, "--here", "--model", model, "--slices", str(slices)]
            command += ["--thickness", str(given.thickness)] + (["--no-localiser"] if given.no_localiser else [])
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
