"""Small nnU-Net v2 model folders, written without nnU-Net: weights of our own networks under nnU-Net's names."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from KidneySegLib.networks import build_network

LABELS: dict[str, Any] = {"background": 0, "medulla": 1, "cortex": 2}
ARCHITECTURE: dict[str, Any] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [2, 4],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
RESAMPLING = {"is_seg": False, "order_z": 0, "force_separate_z": None}


def plans(**changes: Any) -> dict[str, Any]:
    """A plans.json with one configuration; ``changes`` are of the configuration."""
    configuration = {
        "patch_size": [8, 16, 16],
        "spacing": [2.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**RESAMPLING, "order": 3},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": ARCHITECTURE,
        **changes,
    }
    return {
        "dataset_name": "Dataset007_Small Kidneys",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 100.0, "std": 50.0, "percentile_00_5": -60.5, "percentile_99_5": 300.25}
        },
        "configurations": {"3d_fullres": {key: value for key, value in configuration.items() if value is not None}},
    }


def dataset(labels: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": labels or LABELS,
        "numTraining": 4,
        "file_ending": ".nii.gz",
        **changes,
    }


def weights(classes: int, seed: int = 0, kind: str = "PlainConvUNet", **arguments: Any) -> dict[str, torch.Tensor]:
    """State dict with second names, as nnU-Net saves it."""
    torch.manual_seed(seed)
    options = arguments or {
        "features_per_stage": [2, 4],
        "strides": [1, 2],
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": 1,
    }
    state = dict(build_network(kind, {"num_classes": classes, **options}).state_dict())
    twice = {f"decoder.{key}": value for key, value in state.items() if key.startswith("encoder.")}
    return {
        **state,
        **twice,
        "encoder.stages.0.0.convs.0.all_modules.0.weight": state["encoder.stages.0.0.convs.0.conv.weight"],
    }


def checkpoint(state: dict[str, torch.Tensor], **changes: Any) -> dict[str, Any]:
    """As nnU-Net's trainer saves it, numpy's numbers in the log and torch's device among the arguments included."""
    return {
        "network_weights": state,
        "optimizer_state": {"state": {}, "param_groups": []},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "dice": [np.arange(3.0)], "n": [np.int64(3)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 5,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }


def write_model(
    folder: Path,
    labels: dict[str, Any] | None = None,
    *,
    classes: int = 3,
    folds: tuple[str, ...] = ("0",),
    name: str = "checkpoint_final.pth",
    plan: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    content: Any = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plan or plans()))
    (folder / "dataset.json").write_text(json.dumps(data or dataset(labels)))
    for number, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir()
        torch.save(content or checkpoint(weights(classes, number)), folder / f"fold_{fold}" / name)
    return folder


def zipped(folder: Path, target: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return target
