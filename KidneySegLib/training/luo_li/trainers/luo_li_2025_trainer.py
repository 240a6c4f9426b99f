"""nnU-Net's trainer with the choices of Luo and Li (2025).

`environment.register_trainer` makes it known to nnU-Net. nnU-Net's own commands find it through their hook for external
trainers (set ``nnUNet_extTrainer`` to this folder), which imports the file by its bare name: so it imports nothing of
ours. Whatever may differ between runs stands in the plans, under ``luo_li_2025`` of the configuration: so it is in
every trained folder, and the processes of a multi-GPU run read it too.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

SETTINGS_KEY = "luo_li_2025"
#: nnU-Net's augmentations that the paper does not list.
_NOT_IN_THE_PAPER = (GaussianBlurTransform, GammaTransform)
#: Written by the first process of a multi-GPU run, for the process that waits.
PROGRESS_FILE = "kidneyseg_progress.json"


class LuoLi2025Trainer(nnUNetTrainer):  # type: ignore[misc]
    """Own U-Net, 200 epochs, the paper's augmentations; all else as nnU-Net has it.

    Attributes:
        on_step: called after each step with the epochs done (a fraction) and the last pseudo-Dice; may raise to stop.
        on_check: called between steps too, and may raise to stop.
    """

    on_step: Callable[[float, float | None], None] | None = None
    on_check: Callable[[], None] | None = None

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net looks the arguments up by signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        settings = self.configuration_manager.configuration[SETTINGS_KEY]
        self.num_epochs = settings["epochs"]
        self.num_iterations_per_epoch = settings["iterations"]
        self.num_val_iterations_per_epoch = settings["validation_iterations"]
        self.initial_lr = settings["learning_rate"]
        self.weight_decay = settings["weight_decay"]
        self.momentum = settings["momentum"]
        self.nesterov = settings["nesterov"]
        self.seed = settings["seed"]
        self.save_every = settings["save_every"]
        self._steps_in_epoch = 0

    def initialize(self) -> None:
        """As nnU-Net, from a seed: the first weights are the same in every run and on every card."""
        seed = self.seed * 100 + int(self.fold)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        super().initialize()

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> Any:
        """The network that the plans name, by the names that its class gives to its arguments.

        It has the heads of deep supervision in any case, as nnU-Net's own networks do: whoever predicts loads the same
        weights as whoever trains.
        """
        import pydoc

        network_class: Any = pydoc.locate(configuration_manager.network_arch_class_name)
        network: Any = network_class(
            in_channels=num_input_channels,
            out_channels=num_output_channels,
            deep_supervision=True,
            **configuration_manager.network_arch_init_kwargs,
        )
        network.deep_supervision = enable_deep_supervision
        return network

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Stochastic gradient descent with the paper's rate and momentum, and nnU-Net's polynomial decay."""
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            self.initial_lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
        )
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentations without blur and gamma, which the paper does not list."""
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        transforms.transforms = [
            t for t in transforms.transforms if not isinstance(getattr(t, "transform", t), _NOT_IN_THE_PAPER)
        ]
        return transforms

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Our U-Net keeps the switch at its top; and gives the coarser outputs in training mode only."""
        network = self.network.module if self.is_ddp else self.network
        getattr(network, "_orig_mod", network).deep_supervision = enabled

    def on_validation_epoch_start(self) -> None:
        """The loss wants the coarser outputs here too. No layer of the network depends on the mode otherwise."""
        self.network.train()

    def plot_network_architecture(self) -> None:
        """Nothing: it needs a package that is no longer maintained."""

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step, after a look at whether to stop."""
        self._tell()
        self._steps_in_epoch += 1
        result: dict[str, Any] = super().train_step(batch)
        return result

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self._steps_in_epoch = 0
        self._tell()

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """As nnU-Net. Validation says each case here, which makes it the place to look at whether to stop."""
        super().print_to_log_file(*args, **kwargs)
        if self.on_check is not None:
            self.on_check()

    def _tell(self) -> None:
        done = self.current_epoch + min(1.0, self._steps_in_epoch / self.num_iterations_per_epoch)
        logged = self.logger.get_value("mean_fg_dice", step=None)
        dice = float(logged[-1]) if logged else None
        if self.on_step is not None:
            self.on_step(done, dice)
        elif self.is_ddp and self.local_rank == 0:
            target = Path(self.output_folder) / PROGRESS_FILE
            fresh = target.with_suffix(".new")
            fresh.write_text(json.dumps({"epochs": done, "dice": dice}), encoding="utf-8")
            os.replace(fresh, target)
