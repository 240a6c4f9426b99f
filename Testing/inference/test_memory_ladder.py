"""Running out of memory steps down, says so, and gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from KidneySegLib.errors import DeviceError
from KidneySegLib.inference.backend import OutOfDeviceMemoryError
from KidneySegLib.inference.memory_ladder import MemoryLadder
from KidneySegLib.inference.tiling import TilePlan, accumulate, plan_tiles

VOLUME = np.random.default_rng(0).normal(size=(12, 10, 9)).astype(np.float32)
PLAN = plan_tiles((12, 10, 9), (8, 8, 8))


class FakeBackend:
    """Doubles its input, if batch and accumulator fit into its memory."""

    name = "fake"
    precision = "float32"

    def __init__(self, device: str, largest_batch: int, *, room_for_results: bool = True) -> None:
        self.device = device
        self.batch_size = 4
        self.has_own_memory = device != "cpu"
        self.largest_batch = largest_batch
        self.room_for_results = room_for_results
        self.calls: list[tuple[int, bool]] = []

    def logits(self, volume, plan: TilePlan, *, batch_size, accumulate_on_host, mirror_axes, on_tile):
        self.calls.append((batch_size, accumulate_on_host))

        def predict(tiles: np.ndarray) -> np.ndarray:
            if len(tiles) > self.largest_batch or not (self.room_for_results or accumulate_on_host):
                raise OutOfDeviceMemoryError("CUDA out of memory")
            return 2 * tiles

        return accumulate(volume, plan, 1, predict, batch_size=batch_size, mirror_axes=mirror_axes, on_tile=on_tile)


def run(ladder: MemoryLadder) -> np.ndarray:
    return ladder.logits(VOLUME, PLAN, (), lambda _done, _count: None)


def test_enough_memory_takes_no_step() -> None:
    backend = FakeBackend("cuda:0", 4)
    ladder = MemoryLadder(lambda: backend, lambda: pytest.fail("no need for the processor"))
    np.testing.assert_allclose(run(ladder)[0], 2 * VOLUME, rtol=1e-5)
    assert backend.calls == [(4, False)]
    assert ladder.notes == []


def test_smaller_batches_then_results_on_the_host() -> None:
    backend = FakeBackend("cuda:0", 1, room_for_results=False)
    ladder = MemoryLadder(lambda: backend, lambda: pytest.fail("no need for the processor"))
    np.testing.assert_allclose(run(ladder)[0], 2 * VOLUME, rtol=1e-5)
    assert backend.calls == [(4, False), (2, False), (1, False), (1, True)]
    assert len(ladder.notes) == 3
    assert "2 tile" in ladder.notes[0]
    # The next case starts where this one ended.
    run(ladder)
    assert backend.calls[-1] == (1, True)


def test_the_processor_is_the_last_step() -> None:
    processor = FakeBackend("cpu", 4)
    ladder = MemoryLadder(lambda: FakeBackend("cuda:0", 0), lambda: processor)
    np.testing.assert_allclose(run(ladder)[0], 2 * VOLUME, rtol=1e-5)
    assert ladder.backend is processor
    assert "processor" in ladder.notes[-1]


def test_loading_may_run_out_of_memory_too() -> None:
    def too_large() -> FakeBackend:
        raise OutOfDeviceMemoryError("no room for the weights")

    ladder = MemoryLadder(too_large, lambda: FakeBackend("cpu", 4))
    assert ladder.backend.device == "cpu"
    np.testing.assert_allclose(run(ladder)[0], 2 * VOLUME, rtol=1e-5)


def test_no_step_left_is_an_error_that_says_what_to_do() -> None:
    ladder = MemoryLadder(lambda: FakeBackend("cpu", 0), None)
    with pytest.raises(DeviceError, match="no-localiser"):
        run(ladder)
