"""``kidneyseg train ultrasound``: from a data set of outlined pictures to a bundle with measured accuracy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from KidneySegLib.errors import InputError, ModelError, OutputError
from KidneySegLib.files import write_json
from KidneySegLib.networks.resnet import ResNetEncoder, load_imagenet_weights
from KidneySegLib.progress import Progress
from KidneySegLib.training.log import plot_log
from KidneySegLib.training.ultrasound.config import UltrasoundConfig, as_plain, load_config
from KidneySegLib.training.ultrasound.dataset import OutlinedImage, find_outlined
from KidneySegLib.training.ultrasound.samples import prepare
from KidneySegLib.training.ultrasound.split import Split, split_by_patient
from KidneySegLib.training.ultrasound.trainer import LOG, UltrasoundTrainer, new_network
from KidneySegLib.ultrasound.bundle import UltrasoundBundle, UltrasoundSpec

RECORD = "record.json"
SPLIT = "split.json"
PLOT = "log.png"
BUNDLES = "bundles"
TEST = "test"

_INTENDED_USE = (
    "Research and education: outlining kidneys on 2-D B-mode ultrasound; a person must look at every outline. "
    "Not a medical device."
)
_DEMONSTRATION_USE = (
    "DEMONSTRATION ONLY. This model was trained on synthetic pictures and has seen no patient. It shows how the "
    "program works and says nothing about how well kidneys of patients are outlined. Not for research results. "
    "Not a medical device."
)
_CITATION = "Shtaiyat A, Younes HA. Kidney segmentation using deep learning. Nanotechnology Perceptions 2024;20(S5)."


def train_ultrasound(
    dataset: Path,
    output: Path,
    *,
    config_file: Path | None = None,
    annotations: Path | None = None,
    imagenet: Path | None = None,
    device: str = "auto",
    epochs: int | None = None,
    name: str | None = None,
    resume: bool = False,
    progress: Progress = Progress(),
) -> UltrasoundBundle:
    """Train, validate and test a model, and make a bundle of it.

    Args:
        dataset: see `dataset.find_outlined`.
        output: folder of the run: checkpoint, log.csv, log.png, split.json, record.json, test/ and bundles/.
        config_file: another recipe than the shipped one.
        annotations: which table of VIA polygons.
        imagenet: folder with torchvision's ResNet weights (``resnet18*.pth`` or ``.safetensors``, ...), to start from.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        epochs, name: instead of the recipe's.
        resume: go on where an interrupted run stopped.
        progress: reported to, and asked whether to stop.

    Raises:
        KidneySegError: what the user can mend.
        Cancelled: the user stopped it; a checkpoint is left.
    """
    config = load_config(config_file)
    if epochs is not None:
        config = dataclasses.replace(config, epochs=epochs)
    if name is not None:
        config = dataclasses.replace(config, bundle=name)
    _prepare_folder(output, resume)
    found = find_outlined(dataset, annotations)
    split = _split(found.images, config, output / SPLIT, resume)
    network = new_network(config)
    started_from = _start_from(network, imagenet) if imagenet is not None else {}
    place = _device(device)
    trainer = UltrasoundTrainer(
        config,
        network,
        torch.from_numpy(prepare(split.training, config.size, progress)).to(place),
        torch.from_numpy(prepare(split.validation, config.size, progress)).to(place),
        output,
        place,
    )
    if resume:
        trainer.resume()
    weights = trainer.run(progress)
    plot_log(output / LOG, output / PLOT, over="epoch", scored_on="validation pictures")
    record = {
        "recipe": as_plain(config),
        "pictures": {"training": len(split.training), "validation": len(split.validation), "test": len(split.test)},
        "notes": list(found.notes),
        "imagenet": started_from,
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "validation_dice": trainer.best if trainer.best >= 0 else None,
        "torch": torch.__version__,
        "device": place.type,
    }
    bundle = _write(config, weights, record, output)
    if split.test:
        bundle = _test(bundle, split.test, output / TEST, progress)
    write_json(output / RECORD, {**record, "test": dict(bundle.metrics)})
    return bundle


def _prepare_folder(output: Path, resume: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file. Choose a folder for the run.")
    if output.is_dir() and any(output.iterdir()) and not resume:
        raise OutputError(f"{output} is not empty. Choose a new folder, or go on with the run in it (--resume).")
    output.mkdir(parents=True, exist_ok=True)


def _split(images: Sequence[OutlinedImage], config: UltrasoundConfig, file: Path, resume: bool) -> Split:
    """The split of a run: drawn once, written down, and the same when it is resumed.

    Raises:
        InputError: a resumed run's pictures are not there any more.
    """
    if resume and file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        by_name = {image.image.name: image for image in images}
        try:
            sets = [tuple(by_name[name] for name in content[key]) for key in ("training", "validation", "test")]
        except KeyError as error:
            raise InputError(f"{file} names the picture {error}, which is not in the data set any more.") from error
        return Split(*sets)
    split = split_by_patient(images, config.validation_share, config.test_share, config.seed)
    content = {key: [image.image.name for image in getattr(split, key)] for key in ("training", "validation", "test")}
    write_json(file, content, ascii_only=True)
    return split


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("No NVIDIA card can be used by this torch. Choose --device cpu.")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise InputError("This computer has no Apple GPU. Choose --device cpu.")
    return torch.device(wanted)


def _start_from(network: nn.Module, folder: Path) -> dict[str, str]:
    """Put ImageNet weights into every ResNet of a network; the files that were taken, by depth.

    Raises:
        InputError: a file is missing, or holds other weights.
    """
    taken: dict[str, str] = {}
    loaded: dict[int, Mapping[str, Tensor]] = {}
    for module in network.modules():
        if not isinstance(module, ResNetEncoder):
            continue
        if module.depth not in loaded:
            files = sorted(
                path
                for pattern in (
                    f"resnet{module.depth}*.pth",
                    f"resnet{module.depth}*.pt",
                    f"resnet{module.depth}*.safetensors",
                )
                for path in folder.glob(pattern)
            )
            if not files:
                raise InputError(
                    f"{folder} holds no weights of ResNet-{module.depth}: resnet{module.depth}*.pth or .safetensors "
                    "was expected, as torchvision gives them."
                )
            loaded[module.depth] = _load(files[0])
            taken[f"resnet{module.depth}"] = files[0].name
        try:
            load_imagenet_weights(module, loaded[module.depth])
        except ValueError as error:
            raise InputError(f"{taken[f'resnet{module.depth}']}: {error}") from error
    return taken


def _load(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors: Mapping[str, Tensor] = load_file(str(path))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} cannot be read: {error}.") from error
        return tensors
    from KidneySegLib.training.checkpoint import load_safely

    return load_safely(path)


def _write(
    config: UltrasoundConfig, weights: Mapping[str, Tensor], record: Mapping[str, Any], output: Path
) -> UltrasoundBundle:
    from KidneySegLib.ultrasound.export import write_ultrasound_bundle

    spec = UltrasoundSpec(
        name=config.bundle,
        version="1",
        title=config.title,
        licence="Apache-2.0" if config.demonstration else "that of the data it was trained on",
        citation=_CITATION,
        intended_use=_DEMONSTRATION_USE if config.demonstration else _INTENDED_USE,
        network=config.network,
        network_arguments=config.arguments,
        channels=config.in_channels,
        size=config.size,
        demonstration=config.demonstration,
        training=record,
        metrics={"validation_dice": record["validation_dice"]},
    )
    return write_ultrasound_bundle(output / BUNDLES / config.bundle, spec, weights, float16=True, replace=True)


def _test(
    bundle: UltrasoundBundle, images: Sequence[OutlinedImage], folder: Path, progress: Progress
) -> UltrasoundBundle:
    """Score a bundle on held-out pictures, as `kidneyseg evaluate --task ultrasound` would, and write down the
    result."""
    from KidneySegLib.evaluation.ultrasound import evaluate_masks, summary_of
    from KidneySegLib.ultrasound.export import update_manifest
    from KidneySegLib.ultrasound.network import UltrasoundNetwork
    from KidneySegLib.ultrasound.outline import outline_frames
    from KidneySegLib.ultrasound.reading import read_ultrasound

    try:
        network = UltrasoundNetwork(bundle, "cpu")
    except ModelError:
        raise

    def pairs() -> Any:
        for index, one in enumerate(images):
            progress.report("test", index / len(images), one.image.name)
            scan = read_ultrasound(one.image)
            shape = (scan.view.shape[0], scan.view.shape[1])
            found = outline_frames(scan.frames[:1], scan.view, network)[0].mask
            yield one.image.stem, found, np.asarray(one.kidney(shape))

    done = evaluate_masks(pairs(), folder)
    progress.report("test", 1.0)
    return update_manifest(bundle, metrics={**bundle.metrics, "test": summary_of(done)})
