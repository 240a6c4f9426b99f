"""The network alone: the same tile through nnU-Net's predictor and through ours, in turn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.material import Model, Scan
from Testing.benchmarks.sides import make_predictor


def middle_tile(model: Model, scan: Scan) -> np.ndarray:
    """The tile in the middle of a scan, as both sides' preprocessing makes it."""
    import SimpleITK as sitk

    from KidneySegLib.inference.grid import Box, size3
    from KidneySegLib.inference.nnunet_scan import lay, prepare
    from KidneySegLib.models import read_bundle

    spec = read_bundle(model.bundle)
    image = sitk.ReadImage(str(scan.image))
    layout = lay(image, spec)
    start = [max(0, (n - p) // 2) for n, p in zip(layout.size, spec.patch_size, strict=True)]
    stop = [min(n, s + p) for n, s, p in zip(layout.size, start, spec.patch_size, strict=True)]
    part = prepare(image, spec, lambda _f: None, layout=layout, region=Box(size3(start), size3(stop))).volume
    return np.pad(part, [(0, p - n) for p, n in zip(spec.patch_size, part.shape, strict=True)])


def time_tiles(model: Model, scan: Scan, pairs: int, device: str, threads: int) -> dict[str, Any]:
    """Seconds of each side's tiles, in turn, after one that is not counted; and how far their logits differ."""
    import torch

    from KidneySegLib.inference.backend import make_backend
    from KidneySegLib.inference.device import choose_device
    from KidneySegLib.inference.tiling import plan_tiles
    from KidneySegLib.models import read_bundle

    tile = middle_tile(model, scan)
    torch.set_num_threads(threads)
    predictor = make_predictor(Path(model.folder), device)
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    predictor.network.to(predictor.device).eval()
    bundle = read_bundle(model.bundle)
    chosen = choose_device(device)
    precisions = ["float32", "bfloat16"] if chosen.has_bfloat16 else ["float32"]
    backends = {p: make_backend(bundle, chosen, p) for p in precisions}
    plan = plan_tiles(bundle.patch_size, bundle.patch_size)

    def theirs() -> Any:
        given = torch.from_numpy(tile)[None, None].to(predictor.device)
        with torch.autocast("cuda", enabled=device != "cpu"):
            return predictor._internal_maybe_mirror_and_predict(given)[0].float().cpu().numpy()

    def ours(precision: str) -> Any:
        return backends[precision].logits(
            tile, plan, batch_size=1, accumulate_on_host=False, mirror_axes=(), on_tile=lambda *_: None
        )

    sides = {"nnunet_float32": theirs, **{f"ours_{p}": lambda p=p: ours(p) for p in precisions}}
    expected = sides["nnunet_float32"]()
    spread = float(expected.std())
    differs = {n: float(np.abs(run() - expected).mean()) / spread for n, run in sides.items() if n != "nnunet_float32"}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(pairs):
        for name, run in sides.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return {"tiles": seconds, "logit_difference": differs}
