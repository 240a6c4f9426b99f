"""A bundle made ready on a device: normalisation, tiles, memory ladder, activation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from KidneySegLib.inference.backend import Backend, BackendMaker
from KidneySegLib.inference.device import DeviceInfo, choose_precision, cpu_device
from KidneySegLib.inference.grid import size3
from KidneySegLib.inference.labelling import activate
from KidneySegLib.inference.memory_ladder import MemoryLadder
from KidneySegLib.inference.tiling import Float32, mirror_combinations, pad_to_tile, plan_tiles
from KidneySegLib.models.bundle import Bundle, Normalisation, Size

#: Told the fraction done and a message for a person (often empty); may raise to cancel.
OnNetwork = Callable[[float, str], None]


def normalise(hu: Float32, normalisation: Normalisation) -> Float32:
    """Network input of HU that are clipped already, in place: subtract the mean, divide by the standard deviation."""
    hu -= normalisation.mean_hu
    hu /= normalisation.standard_deviation_hu
    return hu


class ReadyNetwork:
    """A loaded network that turns normalised volumes into probabilities; kept between cases.

    Args:
        bundle: what to load.
        device: where to run it.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        mirror: ``auto`` (as the bundle says), ``on`` or ``off``.
        make: makes the backend.
    """

    def __init__(self, bundle: Bundle, device: DeviceInfo, precision: str, mirror: str, make: BackendMaker) -> None:
        self.bundle = bundle
        self._mirror_axes = bundle.axes_mirrored(mirror)

        def wanted() -> Backend:
            return make(bundle, device, choose_precision(precision, device))

        def fallback() -> Backend:
            cpu = cpu_device()
            chosen = precision if precision != "bfloat16" or cpu.has_bfloat16 else "float32"
            return make(bundle, cpu, choose_precision(chosen, cpu))

        self._ladder = MemoryLadder(wanted, None if device.kind == "cpu" else fallback)

    @property
    def backend(self) -> Backend:
        """The backend in use now."""
        return self._ladder.backend

    @property
    def notes(self) -> tuple[str, ...]:
        """What the memory ladder had to say."""
        return tuple(self._ladder.notes)

    @property
    def passes_per_tile(self) -> int:
        """How often the network looks at each tile: 1, or 2, 4, 8 with mirroring."""
        return len(mirror_combinations(self._mirror_axes))

    def probabilities(self, volume: Float32, tile: Size, on_progress: OnNetwork) -> Float32:
        """Probabilities (channels, z, y, x) of a normalised volume (z, y, x), mirrored passes averaged.

        Args:
            volume: any size, with the bundle's margin on each side; smaller than the tile it is filled up with air.
            tile: (z, y, x) of one tile.
            on_progress: see `OnNetwork`.

        Returns:
            Of the volume without its margin.
        """
        return activate(self._logits(volume, tile, self._mirror_axes, on_progress), self.bundle.activation)

    def logits(self, volume: Float32, tile: Size, on_progress: OnNetwork) -> Float32:
        """As `probabilities`, but what the network gives before they are made of it."""
        return self._logits(volume, tile, self._mirror_axes, on_progress)

    def passes(self, volume: Float32, tile: Size, on_progress: OnNetwork) -> tuple[Float32, list[Float32]]:
        """As `probabilities`, with the probabilities of each pass beside it: the plain one first.

        The whole volume is mirrored, not its tiles, so that each pass is a whole look at it.
        """
        combinations = mirror_combinations(self._mirror_axes)
        total: Float32 | None = None
        single: list[Float32] = []
        for number, axes in enumerate(combinations):

            def on_pass(fraction: float, message: str, done: int = number) -> None:
                on_progress((done + fraction) / len(combinations), message)

            logits = self._logits(np.ascontiguousarray(np.flip(volume, axes)), tile, (), on_pass)
            logits = np.ascontiguousarray(np.flip(logits, tuple(1 + axis for axis in axes)))
            total = logits.copy() if total is None else np.add(total, logits, out=total)
            single.append(activate(logits, self.bundle.activation))
        assert total is not None
        total /= len(combinations)
        return activate(total, self.bundle.activation), single

    def rest(self) -> None:
        """Give back the memory that answers take, where no more is asked of the network for a while."""
        self.backend.rest()

    def _logits(self, volume: Float32, tile: Size, mirror_axes: tuple[int, ...], on_progress: OnNetwork) -> Float32:
        margin = self.bundle.margin
        seen = size3(t + 2 * m for t, m in zip(tile, margin, strict=True))
        padded, original = pad_to_tile(volume, seen, self.bundle.padding)
        inner = size3(n - 2 * m for n, m in zip(volume.shape, margin, strict=True))
        plan = plan_tiles(inner, tile, self.bundle.tile_step, margin)
        said = len(self._ladder.notes)

        def on_tile(done: int, count: int) -> None:
            nonlocal said
            message = " ".join(self._ladder.notes[said:])
            said = len(self._ladder.notes)
            on_progress(done / count, message)

        on_progress(0.0, "")
        logits = self._ladder.logits(padded, plan, mirror_axes, on_tile)
        z, y, x = (slice(s.start, s.start + n) for s, n in zip(original, inner, strict=True))
        return logits[:, z, y, x]
