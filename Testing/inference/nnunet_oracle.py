"""nnU-Net's own answers: models trained by nnunetv2's trainer for a moment, and what its predictor makes of a scan.

Run as a script in a process of its own, since nnunetv2 reads environment variables and warns when it is imported:
``python nnunet_oracle.py FOLDER``. Each case of `CASES` becomes ``FOLDER/NAME/model`` (dataset.json, plans.json, folds)
and ``FOLDER/NAME/{scan.nii.gz, prepared.npy, logits.npy, labels.npy}``. The scans are bodies of soft tissue with two
kidneys of bright cortex and darker medulla, with noise; a few dozen iterations suffice to find them.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

PREPROCESSED = "nnUNet_preprocessed"
RESAMPLING = {"is_seg": False, "order_z": 0, "force_separate_z": None}


@dataclass(frozen=True)
class Case:
    """One model. Triples are (z, y, x)."""

    spacing_mm: tuple[float, float, float]
    scan_size: tuple[int, int, int]
    scan_spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    labels: dict[str, Any]
    regions: tuple[int, ...] | None = None
    network: str = "PlainConvUNet"
    normalisation: str = "CTNormalization"
    folds: int = 1
    epochs: int = 3
    transpose: tuple[int, int, int] = (0, 1, 2)
    border: int = 0
    use_mask: bool = False


LABELS = {"background": 0, "medulla": 1, "cortex": 2}
REGIONS = {"background": 0, "parenchyma": [1, 2], "cortex": [2]}
ISOTROPIC = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
#: Scans are finer than what the networks see, so that masks have thousands of voxels and a Dice says something.
CASES = {
    # Two folds, and an edge of zeros to be cut off.
    "isotropic": Case(
        (3.0, 3.0, 3.0), (44, 100, 106), (2.1, 1.2, 1.2), (24, 32, 32), ISOTROPIC, LABELS, folds=2, epochs=2, border=8
    ),
    # 5 mm slices (sizes away from a half voxel, which the file's float32 spacing would round the other way): the plane
    # apart from z, other slices than trained on, z-score, kernels as nnU-Net plans them.
    "anisotropic": Case(
        (5.0, 1.6, 1.6),
        (22, 77, 93),
        (3.8, 1.2, 1.2),
        (12, 40, 48),
        ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        {"background": 0, "kidney": 1},
        normalisation="ZScoreNormalization",
    ),
    # Overlapping regions, and axes that nnU-Net transposed.
    "regions": Case(
        (3.0, 3.0, 3.0),
        (50, 74, 82),
        (1.4, 1.4, 1.4),
        (16, 32, 32),
        ISOTROPIC,
        REGIONS,
        regions=(1, 2),
        epochs=6,
        transpose=(1, 0, 2),
    ),
    "residual": Case(
        (3.0, 2.5, 2.5), (33, 77, 85), (1.8, 1.3, 1.3), (16, 32, 32), ISOTROPIC, LABELS, network="ResidualEncoderUNet"
    ),
}


def scan_and_truth(case: Case, seed: int, moved_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """HU (int16) and labels (1 medulla, 2 cortex) of a body with two kidneys."""
    random = np.random.default_rng(seed)
    spacing = np.array(case.scan_spacing_mm)
    size = np.array(case.scan_size)
    mm = np.stack(
        np.meshgrid(*((np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)), indexing="ij"),
        axis=-1,
    )
    half = size * spacing / 2
    hu = np.where(((mm[..., 1:] / (half[1:] * 0.92)) ** 2).sum(-1) < 1, 40.0, -1000.0)
    labels = np.zeros(case.scan_size, np.uint8)
    for side in (-1, 1):
        centre = np.array([moved_mm, 0.15 * half[1], side * 0.45 * half[2]]) + random.uniform(-3, 3, 3)
        radii = np.array([0.55 * half[0], 0.30 * half[1], 0.26 * half[2]]) * random.uniform(0.9, 1.1, 3)
        distance = np.sqrt((((mm - centre) / radii) ** 2).sum(-1))
        labels[distance < 1] = 2
        labels[distance < 0.7] = 1
    hu[labels == 2] = 200
    hu[labels == 1] = 110
    hu = hu + random.normal(0, 12, hu.shape)
    if case.border:
        b = case.border
        hu[:, :b] = hu[:, -b:] = 0
        hu[:, :, :b] = 0
    return hu.astype(np.int16), labels


def truth_labels(case: Case, labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.uint8) if "kidney" in case.labels else labels


def plans_of(case: Case, name: str, images: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, Any]:
    values = np.concatenate([i[m > 0] for i, m in zip(images, masks, strict=True)]).astype(float)
    stages = len(case.strides)
    blocks = (
        {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
        if case.network == "PlainConvUNet"
        else {"n_blocks_per_stage": [1, 2, 2][:stages], "n_conv_per_stage_decoder": [1] * (stages - 1)}
    )
    coarse = case.spacing_mm[0] > 3 * case.spacing_mm[1]
    order = case.transpose
    return {
        "dataset_name": f"Dataset001_{name}",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(case.spacing_mm),
        "original_median_shape_after_transp": list(case.scan_size),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(order),
        "transpose_backward": [order.index(i) for i in range(3)],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "std": float(values.std()),
                "min": float(values.min()),
                "max": float(values.max()),
                "percentile_99_5": float(np.percentile(values, 99.5)) + 0.37,
                "percentile_00_5": float(np.percentile(values, 0.5)) - 120.4,
            }
        },
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [case.patch[i] for i in order],
                "median_image_size_in_voxels": [float(n) for n in case.scan_size],
                "spacing": [case.spacing_mm[i] for i in order],
                "normalization_schemes": [case.normalisation],
                "use_mask_for_norm": [case.use_mask],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {**RESAMPLING, "order": 3},
                "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{case.network}",
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": [6, 10, 16][:stages],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[1, 3, 3] if coarse and s == 0 else [3, 3, 3] for s in range(stages)],
                        "strides": [[stride[i] for i in order] for stride in case.strides],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                        **blocks,
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                "batch_dice": False,
            }
        },
    }


def make(name: str, case: Case, folder: Path) -> None:
    """Train a model and let nnU-Net's predictor segment a scan that it has not seen."""
    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    class nnUNetTrainerMoment(nnUNetTrainer):  # noqa: N801 - nnU-Net's own manner.
        """Few iterations with a quick optimiser; all else as in nnU-Net."""

        def __init__(
            self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device
        ) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs = case.epochs
            self.num_iterations_per_epoch = 10
            self.num_val_iterations_per_epoch = 1

        def configure_optimizers(self) -> Any:
            optimiser = torch.optim.AdamW(self.network.parameters(), 8e-3)
            return optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)

        def plot_network_architecture(self) -> None:
            return None

    import nnunetv2.training.logging.nnunet_logger as logging_module

    logging_module.LocalLogger.plot_progress_png = lambda self, output_folder: None
    images, masks = zip(*(scan_and_truth(case, seed) for seed in range(3)), strict=True)
    labels = [truth_labels(case, m) for m in masks]
    plans = plans_of(case, name, list(images), list(masks))
    dataset: dict[str, Any] = {
        "channel_names": {"0": "CT" if case.normalisation == "CTNormalization" else "zscore"},
        "labels": case.labels,
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "licence": "CC-BY-4.0",
        "description": "Two ellipsoids",
    }
    if case.regions:
        dataset["regions_class_order"] = list(case.regions)
    preprocessed = Path(os.environ[PREPROCESSED]) / f"Dataset001_{name}"
    cases = preprocessed / "nnUNetPlans_3d_fullres"
    cases.mkdir(parents=True)
    manager = PlansManager(copy.deepcopy(plans))
    configuration = manager.get_configuration("3d_fullres")
    for number, (image, mask) in enumerate(zip(images, labels, strict=True)):
        properties: dict[str, Any] = {"spacing": list(case.scan_spacing_mm)}
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            image[None].astype(np.float32), mask[None].astype(np.int16), properties, manager, configuration, dataset
        )
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(cases / f"case_{number}"))
    (preprocessed / "dataset.json").write_text(json.dumps(dataset))
    (preprocessed / "splits_final.json").write_text(
        json.dumps([{"train": ["case_0", "case_1", "case_2"], "val": ["case_2"]}] * case.folds)
    )
    (preprocessed / "dataset_fingerprint.json").write_text("{}")
    (preprocessed / "gt_segmentations").mkdir()
    for fold in range(case.folds):
        torch.manual_seed(fold)
        np.random.seed(fold)
        given = copy.deepcopy(plans)
        given["continue_training"] = False
        trainer = nnUNetTrainerMoment(given, "3d_fullres", fold, copy.deepcopy(dataset), torch.device("cpu"))
        trainer.run_training()
    model = Path(trainer.output_folder_base)
    model.rename(folder / "model")
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    import nnunetv2.inference.predict_from_raw_data as predicting

    predicting.recursive_find_trainer_class_by_name = lambda _name: nnUNetTrainerMoment
    predictor.initialize_from_trained_model_folder(str(folder / "model"), None)
    scan, truth = scan_and_truth(case, 77, moved_mm=4.0)
    image = sitk.GetImageFromArray(scan)
    image.SetSpacing(case.scan_spacing_mm[::-1])
    sitk.WriteImage(image, str(folder / "scan.nii.gz"))
    # The steps of predict_single_npy_array, whose intermediate results are compared too.
    prepared, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        scan[None].astype(np.float32), None, {"spacing": list(case.scan_spacing_mm)}, manager, configuration, dataset
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(prepared)).cpu()
    predictor_labels = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, configuration, manager.get_label_manager(dataset), properties
    )
    np.save(folder / "prepared.npy", prepared[0])
    np.save(folder / "logits.npy", logits.float().numpy())
    np.save(folder / "labels.npy", predictor_labels.astype(np.uint8))
    overlap = 2 * ((predictor_labels > 0) & (truth > 0)).sum() / ((predictor_labels > 0).sum() + (truth > 0).sum())
    print(f"ORACLE {name}: Dice of nnU-Net to truth {overlap:.3f}", file=sys.stderr, flush=True)


def main(folder: Path, names: list[str]) -> None:
    for variable in ("nnUNet_raw", PREPROCESSED, "nnUNet_results"):
        os.environ[variable] = str(folder / variable)
    os.environ.update({"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"})
    for name in names or CASES:
        place = folder / name
        place.mkdir(parents=True)
        make(name, CASES[name], place)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
