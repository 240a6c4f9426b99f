"""One whole job of one side, in a process of its own: ``python -m Testing.benchmarks.sides SIDE ARGUMENTS RESULT``.

ARGUMENTS is JSON. The result, JSON too, has the seconds of each stage, processor seconds and peak memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.peak_memory import peak_resident_bytes

ROOT = Path(__file__).resolve().parents[2]


class Stages:
    """Seconds of wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


def run_side(side: str, **arguments: Any) -> dict[str, Any]:
    """A side's whole job in a fresh process; ``wall_seconds`` are from its start to its end, a second case left out.

    Raises:
        RuntimeError: if the process failed, with its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "Testing.benchmarks.sides", side, json.dumps(arguments), str(result)]
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        wall = time.perf_counter() - begin
        if done.returncode != 0:
            raise RuntimeError(f"{side} failed: {done.stderr[-2000:]}")
        content: dict[str, Any] = json.loads(result.read_text())
        return {"wall_seconds": wall - content.get("warm_seconds", 0.0), **content}


def settle_nnunet() -> None:
    """What nnU-Net wants before it is timed; call it before torch has threads.

    It asks for folders that prediction has no use for. And torch is to take what is below float32's normal range for 0,
    in nnU-Net's favour: it does not ask for that itself, and on weights that lead to such numbers one tile then took
    5.6 to 8.2 s instead of 5.4 to 5.6.
    """
    import torch

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, tempfile.gettempdir())
    os.environ.setdefault("nnUNet_compile", "f")
    torch.set_flush_denormal(True)


def make_predictor(model: Path, device: str) -> Any:
    """nnU-Net's own predictor with the model's weights; mirroring off."""
    settle_nnunet()
    import nnunetv2.inference.predict_from_raw_data as predicting
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    # Looking the trainer up imports every trainer there is, some with packages that are not here.
    predicting.recursive_find_trainer_class_by_name = lambda _name: nnUNetTrainer
    predictor = predicting.nnUNetPredictor(
        device=torch.device(device),
        use_mirroring=False,
        perform_everything_on_device=device != "cpu",
        verbose=False,
        verbose_preprocessing=False,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    return predictor


def nnunet(model: str, scan: str, out: str, device: str = "cpu", logits: str = "", tiles: int = 0) -> dict[str, Any]:
    """nnU-Net's job stage by stage with its own functions, in one process: its worker processes would cost more.

    With ``tiles`` only so many of its tiles, evenly spread, go through the network, and ``tiles_left_out`` and
    ``seconds_a_tile`` say what is missing from the seconds.
    """
    clock = Stages()
    with clock("load"):
        predictor = make_predictor(Path(model), device)
    data, properties = nnunet_prepare(predictor, scan, clock)
    lay, left_out = predictor._internal_get_sliding_window_slicers, 0

    def lay_some(size: Any) -> Any:
        nonlocal left_out
        every = lay(size)
        kept = every[:: max(1, len(every) // tiles)] if tiles else every
        left_out = len(every) - len(kept)
        return kept

    predictor._internal_get_sliding_window_slicers = lay_some
    with clock("network"):
        predicted = predictor.predict_logits_from_preprocessed_data(data)
    nnunet_export(predictor, predicted, properties, out, clock)
    facts = used(device)
    if logits:
        np.save(logits, np.nan_to_num(predicted.cpu().numpy(), nan=-10.0))
    if left_out:
        facts["tiles_left_out"] = left_out
        facts["seconds_a_tile"] = clock.seconds["network"] / tiles_done(lay, data, left_out)
    return {"seconds": clock.seconds, **facts}


def tiles_done(lay: Any, data: Any, left_out: int) -> int:
    """How many of nnU-Net's tiles went through the network."""
    return len(lay(data.shape[1:])) - left_out


def extrapolated(side: dict[str, Any]) -> dict[str, Any]:
    """A side of which tiles were left out, with the time that they would have taken added; another one as it is."""
    missing = side.get("tiles_left_out", 0) * side.get("seconds_a_tile", 0.0)
    if not missing:
        return side
    seconds = {**side["seconds"], "network": side["seconds"]["network"] + missing}
    return {**side, "seconds": seconds, "wall_seconds": side["wall_seconds"] + missing, "extrapolated": True}


def nnunet_prepare(predictor: Any, scan: str, clock: Stages) -> tuple[Any, Any]:
    """Reading and preprocessing, as its predictor does."""
    import torch

    with clock("read"):
        image, properties = predictor.plans_manager.image_reader_writer_class().read_images([scan])
    with clock("preprocess"):
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case_npy(
            image,
            None,
            properties,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        return torch.from_numpy(data), properties


def nnunet_export(predictor: Any, predicted: Any, properties: Any, out: str, clock: Stages) -> None:
    """Resampling back, deciding and writing, as its predictor does."""
    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    with clock("resample"):
        labels = convert_predicted_logits_to_segmentation_with_correct_shape(
            predicted,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            properties,
            num_threads_torch=torch.get_num_threads(),
        )
    with clock("write"):
        predictor.plans_manager.image_reader_writer_class().write_seg(labels, out, properties)


def ours(
    model: str | None,
    scan: str,
    out: str,
    device: str = "cpu",
    precision: str = "auto",
    localiser: bool = True,
    again: bool = False,
) -> dict[str, Any]:
    """Our whole road: the results folder with table, report and pictures; a warm second case where asked for."""
    begin = time.perf_counter()
    from KidneySegLib.pipeline import load_engine, segment_case

    engine = load_engine(
        Path(model) if model else None, device=device, precision=precision, mirror="off", use_localiser=localiser
    )
    ready = time.perf_counter()
    result = segment_case(Path(scan), Path(out), engine=engine, raw=True)
    first = time.perf_counter()
    seconds = {"load": ready - begin, **{k: v for k, v in result.provenance["seconds"].items() if k != "load"}}
    seconds["write"] = first - ready - sum(v for k, v in seconds.items() if k != "load")
    facts = {
        "seconds": seconds,
        "precision": result.provenance["precision"],
        "device": result.provenance["device"],
        **used(device),
    }
    if again:
        second = segment_case(Path(scan), Path(out), engine=engine, raw=True)
        facts["warm_seconds"] = time.perf_counter() - first
        facts["warm_stages"] = dict(second.provenance["seconds"])
    return facts


def start() -> dict[str, Any]:
    """The embedded model made ready, and nothing else: a cold start."""
    from KidneySegLib.pipeline import load_engine

    load_engine()
    return used("cpu")


def used(device: str) -> dict[str, Any]:
    """Processor seconds and peak memory of this process so far."""
    facts: dict[str, Any] = {"cpu_seconds": time.process_time(), "peak_bytes": peak_resident_bytes()}
    if device.startswith("cuda"):
        import torch

        facts["gpu_peak_bytes"] = torch.cuda.max_memory_allocated()
    return facts


SIDES = {"nnunet": nnunet, "ours": ours, "start": start}

if __name__ == "__main__":
    answer = SIDES[sys.argv[1]](**json.loads(sys.argv[2]))  # type: ignore[operator]
    Path(sys.argv[3]).write_text(json.dumps(answer))
