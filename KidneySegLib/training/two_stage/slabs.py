"""Slabs in memory, and the batches of both stages that are drawn from them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from KidneySegLib.inference.two_stage_mask import dilated
from KidneySegLib.training.augment_contrast import ContrastSettings, random_contrast
from KidneySegLib.training.precision import autocast, faster_in_bfloat16
from KidneySegLib.training.samples import FULL_FRACTION, Sample
from KidneySegLib.training.two_stage.config import Augmentation, TwoStageConfig

#: Air, beyond a slab that was turned.
_OUTSIDE_HU = -1024.0
#: How often a slice is drawn, and a patch of it put, where the rarest class is, any class, or anything in the mask; the
#: first stage has no mask, and its third share lies anywhere.
_SHARES = (0.45, 0.4, 0.15)


class SlabPool:
    """A ring of slabs; once full, new ones replace the oldest.

    The second stage's slabs carry two more channels: ``y1``, which the first stage makes of them when they come in,
    through the augmentation's contrast and noise (of clean phantoms it would be better than it is of scans), and the
    mask, which is made of the truth, as in the paper, or of y1, as at inference (`TwoStageConfig.mask_of`). Of the
    truth, its border always lies just so far from the kidney, and the network learns to go by that.

    Args:
        config: of the run.
        capacity: of slabs.
        first: the trained first stage, for slabs of the second; None for those of the first.
    """

    def __init__(self, config: TwoStageConfig, capacity: int, first: nn.Module | None = None) -> None:
        self.config, self.capacity = config, capacity
        self._first = first.eval() if first is not None else None
        self._bfloat16: bool | None = None
        self.slabs: list[tuple[Tensor, Tensor]] = []
        #: Most particular class of each slice of each slab: 0 none, else its number.
        self.slices: list[Tensor] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self.slabs)

    def add(self, sample: Sample) -> None:
        """Take a slab in.

        Raises:
            ValueError: if its shape is not the configuration's.
        """
        if sample.hu.shape != self.config.slab or len(sample.targets) != len(self.config.classes):
            raise ValueError(
                f"a slab must be {self.config.slab} with {len(self.config.classes)} targets, got {sample.hu.shape} and "
                f"{len(sample.targets)}"
            )
        present = (sample.targets > FULL_FRACTION // 2).sum(axis=(2, 3)) >= 4
        numbers = np.where(present, np.arange(1, len(present) + 1)[:, None], 0).max(axis=0)
        if self._first is not None:
            hu = torch.from_numpy(sample.hu.astype(np.float32))[None, None]
            generator = torch.Generator().manual_seed(sample.seed)
            seen = _as_a_scanner_sees(hu, self.config.augment, generator)
            y1 = self._found_first(self._first, seen)[0].numpy()
            if self.config.mask_of == "first":
                foreground = y1 > self.config.foreground_probability
            else:
                foreground = sample.targets.astype(np.int32).sum(axis=0) > FULL_FRACTION // 2
            mask = dilated(foreground, self.config.dilation_mm, self.config.spacing_mm)
            more = np.stack([np.rint(y1 * FULL_FRACTION).astype(np.uint8), mask * np.uint8(FULL_FRACTION)])
            sample = replace(sample, targets=np.concatenate([sample.targets, more]))
            numbers = np.where(mask.any(axis=(1, 2)), numbers, -1)
        item = torch.from_numpy(sample.hu), torch.from_numpy(sample.targets)
        if len(self.slabs) < self.capacity:
            self.slabs.append(item)
            self.slices.append(torch.from_numpy(numbers))
        else:
            self.slabs[self._next], self.slices[self._next] = item, torch.from_numpy(numbers)
        self._next = (self._next + 1) % self.capacity

    def _found_first(self, first: nn.Module, hu: Tensor) -> Tensor:
        if self._bfloat16 is None:
            self._bfloat16 = faster_in_bfloat16(
                torch.device("cpu"), lambda bfloat16: first_stage(first, hu, self.config, bfloat16=bfloat16)
            )
        return first_stage(first, hu, self.config, bfloat16=self._bfloat16)

    def draw(self, count: int, depth: int, generator: torch.Generator, neighbours: int = 0) -> tuple[Tensor, Tensor]:
        """Parts of slabs at random heights: HU (N, z, y, x) and targets (N, channels, z, y, x) in 0..1.

        Args:
            count: N.
            depth: slices that are drawn.
            generator: of the draws.
            neighbours: slices above and as many below that come with them, so that z is depth + 2 * neighbours.
        """
        parts = []
        for _ in range(count):
            number = int(torch.randint(len(self.slabs), (1,), generator=generator))
            hu, targets = self.slabs[number]
            slices = self.slices[number][neighbours : len(hu) - neighbours]
            start = self._start(slices, depth, generator)
            part = slice(start, start + depth + 2 * neighbours)
            parts.append((hu[part].float(), targets[:, part].float() / FULL_FRACTION))
        return torch.stack([hu for hu, _ in parts]), torch.stack([targets for _, targets in parts])

    def _start(self, slices: Tensor, depth: int, generator: torch.Generator) -> int:
        if depth > 1:
            return int(torch.randint(len(slices) - depth + 1, (1,), generator=generator))
        rarest = slices == max(int(slices.max()), 0)
        wanted = torch.nonzero([rarest, slices > 0, slices >= 0][_drawn_share(generator)])[:, 0]
        if len(wanted) == 0:
            return int(torch.randint(len(slices), (1,), generator=generator))
        return int(wanted[int(torch.randint(len(wanted), (1,), generator=generator))])


def normalised(hu: Tensor, config: TwoStageConfig) -> Tensor:
    """Network input of HU."""
    n = config.normalisation
    return (hu.clamp(n["low"], n["high"]) - n["mean"]) / n["sd"]


@torch.no_grad()
def first_stage(network: nn.Module, hu: Tensor, config: TwoStageConfig, *, bfloat16: bool = False) -> Tensor:
    """Probability of kidney and mass together (N, z, y, x) of slabs (N, 1, z, y, x) of HU, on the slabs' own voxels."""
    factor = config.first_pooling
    image = functional.avg_pool3d(normalised(hu, config), (1, factor, factor))
    missing = -image.shape[2] % 4
    image = functional.pad(image, (0, 0, 0, 0, 0, missing), mode="replicate")
    with autocast(image.device, bfloat16=bfloat16):
        logits = network(image)
    probability = logits.float().softmax(1)[:, 1:, : hu.shape[2]]
    if factor > 1:
        probability = functional.interpolate(probability, size=hu.shape[2:], mode="trilinear")
    return probability[:, 0]


def augmented(
    hu: Tensor, targets: Tensor, config: TwoStageConfig, patch: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random pose in the plane, contrast and noise, and a cut to a patch round the foreground.

    Args:
        hu: (N, z, y, x).
        targets: (N, channels, z, y, x).
        patch: (y, x) of the result.
    """
    settings = config.augment
    count, depth, rows, columns = hu.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    angle = uniform(-1, 1) * settings.rotation_degrees * math.pi / 180
    scale = uniform(math.log(settings.scale[0]), math.log(settings.scale[1])).exp()
    flip = torch.where(torch.rand(count, generator=generator) < settings.mirror_probability, -1.0, 1.0)
    centre = _centres(targets, len(config.classes), patch, generator)
    # In units of grid_sample: -1 to 1 over the slab's plane; the patch spans `patch / size` of it.
    zoom_y, zoom_x = patch[0] / rows / scale, patch[1] / columns / scale
    aspect = columns / rows
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * zoom_x * flip, -angle.sin() * zoom_y / aspect
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * zoom_x * aspect * flip, angle.cos() * zoom_y
    theta[:, :, 2] = centre
    grid = functional.affine_grid(theta, [count, 1, *patch], align_corners=False)
    planes = torch.cat([(hu - _OUTSIDE_HU)[:, None], targets], dim=1)
    moved = functional.grid_sample(planes.flatten(1, 2), grid, align_corners=False).unflatten(1, (-1, depth))
    image, truth = moved[:, :1] + _OUTSIDE_HU, moved[:, 1:]
    return _as_a_scanner_sees(image, settings, generator), truth


def _as_a_scanner_sees(image: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """HU (N, 1, z, y, x) with random contrast, blur and noise."""
    count = len(image)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    if settings.contrast_probability:
        contrast = ContrastSettings(probability=settings.contrast_probability, strand_probability=0.3)
        no_fractions = image[:, :0]
        image = random_contrast(image, no_fractions, contrast, False, generator)
    if settings.blur:
        deviation = float(uniform(0, settings.blur)[0])
        image = blurred(image, deviation)
    if settings.noise_hu[1] > 0:
        level = uniform(math.log(max(settings.noise_hu[0], 0.1)), math.log(settings.noise_hu[1])).exp()
        noise = torch.randn(image.shape, generator=generator)
        if float(torch.rand(1, generator=generator)) < 0.5:
            noise = blurred(noise, 0.7) * 2.2
        image = image + level.view(-1, 1, 1, 1, 1) * noise
    return image


def _drawn_share(generator: torch.Generator) -> int:
    """Number of one of `_SHARES`."""
    chance = float(torch.rand(1, generator=generator))
    return 0 if chance < _SHARES[0] else 1 if chance < _SHARES[0] + _SHARES[1] else 2


def _centres(targets: Tensor, classes: int, patch: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Centre (x, y) of each patch in -1..1 of the slab's plane: where its middle slice holds what `_SHARES` says."""
    rows, columns = targets.shape[-2:]
    reach = torch.tensor([1 - patch[1] / columns, 1 - patch[0] / rows])
    centres = torch.zeros(len(targets), 2)
    for number, inside in enumerate(targets[:, :, targets.shape[2] // 2] > 0.5):
        present = [own for own in inside[:classes] if own.any()]
        share = _drawn_share(generator) if present else 2
        if share == 2 and len(inside) == classes:
            centres[number] = (2 * torch.rand(2, generator=generator) - 1) * reach
            continue
        plane = present[-1] if share == 0 else (inside[:classes] if share == 1 else inside).any(dim=0)
        found = torch.nonzero(plane)
        if len(found):
            y, x = (float(v) for v in found[int(torch.randint(len(found), (1,), generator=generator))])
            centres[number] = torch.tensor([2 * x / columns - 1, 2 * y / rows - 1])
    # By up to a third of the patch's own half, so that what was chosen stays in it.
    jitter = (torch.rand(len(targets), 2, generator=generator) - 0.5) * 0.7 * (1 - reach)
    return (centres + jitter * (reach > 0)).clamp(min=-reach, max=reach)


def blurred(image: Tensor, deviation: float) -> Tensor:
    """Images (N, 1, z, y, x) blurred within their slices, 0 beyond their edges; ``deviation`` is in pixels.

    Under a fifth of a pixel the image comes back as it is.
    """
    if deviation < 0.2:
        return image
    index = torch.arange(-3.0, 4.0)
    weights = (-0.5 * (index / deviation).square()).exp()
    weights = weights / weights.sum()
    # A sum of moved images: the convolution of one channel is several times slower.
    for axis, sides in ((3, (0, 0, 3, 3)), (4, (3, 3))):
        padded = functional.pad(image, sides)
        size = image.shape[axis]
        image = weights[0] * padded.narrow(axis, 0, size)
        for start, weight in enumerate(weights[1:], start=1):
            image.add_(padded.narrow(axis, start, size), alpha=float(weight))
    return image


def first_batch(pool: SlabPool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Image (N, 1, z, y, x) and targets (N, 2, z, y, x), background first, of the first stage."""
    config = pool.config
    depth, rows, columns = config.first.patch
    factor = config.first_pooling
    hu, targets = pool.draw(config.first.batch_size, depth, generator)
    if factor > 1:
        coarse = (1, factor, factor)
        hu, targets = functional.avg_pool3d(hu[:, None], coarse)[:, 0], functional.avg_pool3d(targets, coarse)
    image, truth = augmented(hu, targets, config, (rows, columns), generator)
    foreground = truth.sum(dim=1, keepdim=True).clamp(max=1)
    return normalised(image, config), torch.cat([1 - foreground, foreground], dim=1)


def second_batch(pool: SlabPool, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Input (N, 3 * slices, y, x), targets (N, classes + 1, y, x), background first, and mask (N, 1, y, x).

    Of the second stage; targets and mask are those of the slice in the middle.
    """
    config = pool.config
    _, rows, columns = config.second.patch
    hu, targets = pool.draw(config.second.batch_size, 1, generator, config.neighbours)
    image, truth = augmented(hu, targets, config, (rows, columns), generator)
    own = config.neighbours
    classes, y1, mask = truth[:, :-2, own], truth[:, -2], (truth[:, -1] > 0.5).float()
    background = (1 - classes.sum(dim=1, keepdim=True)).clamp(0, 1)
    given = second_input(normalised(image[:, 0], config), y1, mask)
    return given, torch.cat([background, classes], dim=1), mask[:, own : own + 1]


def second_input(image: Tensor, y1: Tensor, mask: Tensor) -> Tensor:
    """The paper's I2 = mask * concat(y1 * I, I, (1 - y1) * I), each (N, slices, y, x); the paper has one slice."""
    masked = mask * image
    return torch.cat([y1 * masked, masked, (1 - y1) * masked], dim=1)


def with_neighbours(volume: Tensor, neighbours: int) -> Tensor:
    """Each slice of a volume (z, y, x) between so many above and below it: (z, slices, y, x). Beyond the ends is 0."""
    padded = functional.pad(volume, (0, 0, 0, 0, neighbours, neighbours))
    return padded.unfold(0, 1 + 2 * neighbours, 1).movedim(-1, 1)
