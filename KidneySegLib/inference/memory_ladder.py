"""What to do when a device's memory runs out: step down, say so, and give the same answer."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

from KidneySegLib.errors import DeviceError
from KidneySegLib.inference.backend import Backend, OutOfDeviceMemoryError
from KidneySegLib.inference.tiling import Float32, OnTile, TilePlan

#: Makes the backend that runs on the computer's own processor and memory.
FallbackMaker = Callable[[], Backend]


class MemoryLadder:
    """Runs a backend, stepping down when its memory does not suffice.

    Rungs: the device's own batch size; smaller batches down to one tile; logits accumulated in the computer's memory;
    the processor. A rung that failed once is not tried again in the ladder's life.

    Attributes:
        backend: the backend in use, another one after the last step.
        notes: what was said on the way down.
    """

    def __init__(self, make: FallbackMaker, make_fallback: FallbackMaker | None) -> None:
        """
        Args:
            make: makes the wanted backend; may itself run out of memory.
            make_fallback: makes the processor's backend, or None if that is the wanted one.
        """
        self._make_fallback = make_fallback
        self.notes: list[str] = []
        self._accumulate_on_host = False
        try:
            self.backend = make()
        except OutOfDeviceMemoryError as error:
            self.backend = self._to_processor(error)
        self._batch_size = self.backend.batch_size

    def logits(self, volume: Float32, plan: TilePlan, mirror_axes: Sequence[int], on_tile: OnTile) -> Float32:
        """See `backend.Backend.logits`.

        Raises:
            DeviceError: if even the processor's memory does not suffice.
        """
        while True:
            try:
                return self.backend.logits(
                    volume,
                    plan,
                    batch_size=self._batch_size,
                    accumulate_on_host=self._accumulate_on_host,
                    mirror_axes=mirror_axes,
                    on_tile=on_tile,
                )
            except (OutOfDeviceMemoryError, MemoryError) as error:
                self._step_down(error)
            gc.collect()

    def _step_down(self, error: Exception) -> None:
        where = self.backend.device
        if self._batch_size > 1:
            self._batch_size = max(1, self._batch_size // 2)
            self._note(f"Memory of {where} ran out: going on with {self._batch_size} tile(s) at a time.")
        elif self.backend.has_own_memory and not self._accumulate_on_host:
            self._accumulate_on_host = True
            self._note(f"Memory of {where} ran out: going on with the results in the computer's own memory.")
        else:
            self.backend = self._to_processor(error)
            self._batch_size = self.backend.batch_size

    def _to_processor(self, error: Exception) -> Backend:
        if self._make_fallback is None:
            raise DeviceError(
                "The computer's memory ran out while the network ran. Close other programs, or use a model with a "
                "localiser (without --no-localiser), which needs only the kidneys' surroundings."
            ) from error
        self._note("Memory of the chosen device ran out: going on on the processor, which takes longer.")
        make, self._make_fallback = self._make_fallback, None
        return make()

    def _note(self, text: str) -> None:
        self.notes.append(text)
