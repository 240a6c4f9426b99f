"""Everything outside the network, like for like: the same scan, the same logits of the whole scan, both uncompressed.

nnU-Net: read, preprocess, resample back, decide, write. Ours: the same for an imported model without a localiser.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.material import Model, Scan
from Testing.benchmarks.sides import Stages, make_predictor, nnunet_export, nnunet_prepare


def time_outside(model: Model, scan: Scan, logits: Path, folder: Path, times: int) -> dict[str, Any]:
    """Seconds of each side in turn and by stage, and the Dice of what they write from the same logits."""
    import SimpleITK as sitk
    import torch

    from Testing.benchmarks.record import dice

    predictor = make_predictor(model.folder, "cpu")
    given = np.load(logits)
    results: dict[str, Any] = {"nnunet": [], "ours": [], "stages": {"nnunet": [], "ours": []}}
    for _ in range(times):
        clock = Stages()
        _, properties = nnunet_prepare(predictor, str(scan.image), clock)
        nnunet_export(predictor, torch.from_numpy(given), properties, str(folder / "theirs.nii"), clock)
        _add(results, "nnunet", clock)
        clock = Stages()
        _ours(model, scan, given.astype(np.float32), folder / "ours.nii", clock)
        _add(results, "ours", clock)
    theirs, ours = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))) for name in ("theirs.nii", "ours.nii"))
    results["dice"] = {"parenchyma": dice(theirs > 0, ours > 0), "cortex": dice(theirs == 2, ours == 2)}
    results["voxels_that_differ"] = int((theirs != ours).sum())
    return results


def _add(results: dict[str, Any], side: str, clock: Stages) -> None:
    results[side].append(sum(clock.seconds.values()))
    results["stages"][side].append(clock.seconds)


def _ours(model: Model, scan: Scan, logits: np.ndarray, out: Path, clock: Stages) -> None:
    import SimpleITK as sitk

    from KidneySegLib.ct import read_ct
    from KidneySegLib.inference.nnunet_labels import ids_on_scan
    from KidneySegLib.inference.nnunet_scan import prepare
    from KidneySegLib.models import read_bundle

    spec = read_bundle(model.bundle)
    with clock("read"):
        image = read_ct(scan.image).image
    with clock("preprocess"):
        prepared = prepare(image, spec, lambda _f: None)
    with clock("resample"):
        found = ids_on_scan(logits, prepared, spec, lambda _f: None)
        labels = np.zeros(image.GetSize()[::-1], np.uint8)
        if found is not None:
            labels[found[1].slices] = found[0]
    with clock("write"):
        written = sitk.GetImageFromArray(labels)
        written.CopyInformation(image)
        sitk.WriteImage(written, str(out))
