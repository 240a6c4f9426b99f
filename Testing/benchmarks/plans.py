"""Networks as nnU-Net plans them, and the scans that they are timed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Size = tuple[int, int, int]
SpacingMm = tuple[float, float, float]

#: Regions as in Luo and Li: cortex inside parenchyma; two sigmoid outputs.
LABELS: dict[str, Any] = {"background": 0, "parenchyma": [1, 2], "cortex": [2]}
REGIONS_CLASS_ORDER = [1, 2]
CONFIGURATION = "3d_fullres"


@dataclass(frozen=True)
class Planned:
    """What nnU-Net's planner makes of a data set. Triples are (z, y, x).

    Attributes:
        name: ours.
        title: for tables.
        spacing_mm: voxel size of the network's input.
        patch: voxels of a tile.
        features: of each resolution.
        kernels, strides: of each resolution.
        trained_features: of the narrower network that learns the benchmark's weights (`widened`).
        training_patches: sizes on which it learns, in turn, as wide as a tile: instance normalisation answers to all
            that a patch holds, and in a small one that lies in muscle, muscle looks like kidney.
        training_steps: how long, in rounds; each has a learning rate that rises and falls.
    """

    name: str
    title: str
    spacing_mm: SpacingMm
    patch: Size
    features: tuple[int, ...]
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]
    trained_features: tuple[int, ...]
    training_patches: tuple[Size, ...]
    training_steps: tuple[int, ...]


@dataclass(frozen=True)
class ScanPlan:
    """A phantom's CT.

    Attributes:
        name: of the case.
        shape, spacing_mm: (z, y, x).
        seed: of the phantom.
    """

    name: str
    shape: Size
    spacing_mm: SpacingMm
    seed: int = 4243

    @property
    def title(self) -> str:
        z, y, x = self.shape
        return f"{y} x {x} x {z} at {' x '.join(f'{mm:g}' for mm in self.spacing_mm)} mm"


_FEATURES = (32, 64, 128, 256, 320, 320)
_NARROW = (8, 16, 32, 64, 80, 80)
_FLAT, _CUBE = (1, 3, 3), (3, 3, 3)
_PLANE, _HALF, _SAME = (1, 2, 2), (2, 2, 2), (1, 1, 1)

#: 40 scans with 5 mm slices and pixels of 0.684 mm, about 82 x 512 x 512: PlainConvUNet of 30.75 M parameters.
THICK = Planned(
    "thick",
    "PlainConvUNet 30.75 M, patch 32 x 224 x 224, 5 x 0.684 x 0.684 mm",
    (5.0, 0.684, 0.684),
    (32, 224, 224),
    _FEATURES,
    (_FLAT, _FLAT, _CUBE, _CUBE, _CUBE, _CUBE),
    (_SAME, _PLANE, _PLANE, _HALF, _HALF, _HALF),
    _NARROW,
    ((16, 224, 224), (32, 224, 224)),
    (4200, 6400),
)
#: The same scans at 1.5 mm in every direction, about 220 x 233 x 233: 31.20 M parameters.
ISOTROPIC = Planned(
    "isotropic",
    "PlainConvUNet 31.20 M, patch 128 x 128 x 128, 1.5 mm",
    (1.5, 1.5, 1.5),
    (128, 128, 128),
    _FEATURES,
    (_CUBE,) * 6,
    (_SAME, *((_HALF,) * 5)),
    _NARROW,
    ((64, 128, 128), (128, 128, 128)),
    (1800, 4800),
)
#: For development and tests: everything runs, nothing is told about speed.
QUICK = Planned(
    "quick",
    "small U-Net, patch 16 x 128 x 128, 5 x 1.4 x 1.4 mm: for development, not for comparison",
    (5.0, 1.4, 1.4),
    (16, 128, 128),
    (8, 16, 32),
    (_FLAT, _CUBE, _CUBE),
    (_SAME, _PLANE, _HALF),
    (4, 8, 16),
    ((16, 128, 128),),
    (400,),
)
PLANS = {plan.name: plan for plan in (THICK, ISOTROPIC, QUICK)}

#: Pixels that are not the network's, so that the way there and back resamples.
MAIN_SCAN = ScanPlan("abdomen-5mm", (100, 512, 512), (5.0, 0.7, 0.7))
ISOTROPIC_SCAN = ScanPlan("abdomen-1.5mm", (220, 256, 256), (1.5, 1.4, 1.4))
QUICK_SCAN = ScanPlan("quick", (40, 96, 96), (5.0, 3.6, 3.6))
#: What each plan's network is timed on, and learns from the like of.
SCANS = {THICK.name: MAIN_SCAN, ISOTROPIC.name: ISOTROPIC_SCAN, QUICK.name: QUICK_SCAN}


def plans_json(planned: Planned, foreground: dict[str, float]) -> dict[str, Any]:
    """The content of nnU-Net's ``plans.json``.

    Args:
        planned: the network.
        foreground: of the kidneys' HU: mean, median, std, min, max, percentile_99_5, percentile_00_5.
    """
    stages = len(planned.features)
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    name = "resample_data_or_seg_to_shape"
    return {
        "dataset_name": f"Dataset900_Benchmark-{planned.name}",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(planned.spacing_mm),
        "original_median_shape_after_transp": [82, 512, 512],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": foreground},
        "configurations": {
            CONFIGURATION: {
                "data_identifier": f"nnUNetPlans_{CONFIGURATION}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(planned.patch),
                "median_image_size_in_voxels": [82.0, 512.0, 512.0],
                "spacing": list(planned.spacing_mm),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": name,
                "resampling_fn_seg": name,
                "resampling_fn_data_kwargs": {**resampling, "order": 3},
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": name,
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": list(planned.features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [list(k) for k in planned.kernels],
                        "strides": [list(s) for s in planned.strides],
                        "n_conv_per_stage": [2] * stages,
                        "n_conv_per_stage_decoder": [2] * (stages - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                "batch_dice": False,
            }
        },
    }


def dataset_json() -> dict[str, Any]:
    """The content of nnU-Net's ``dataset.json``. The result is written uncompressed."""
    return {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "regions_class_order": REGIONS_CLASS_ORDER,
        "numTraining": 1,
        "file_ending": ".nii",
        "licence": "Apache-2.0",
        "description": "Benchmark on synthetic kidneys",
    }
