"""Evidence: what each pass said, on the network's grid, and none where nobody knows what it is worth."""

from __future__ import annotations

from pathlib import Path

import analytic_bundles as bundles
import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.inference import Engine
from KidneySegLib.inference.evidence import CALIBRATION_KEY, Evidence, evidence_of, has_evidence
from KidneySegLib.inference.grid import Box, frame_of, grid_of
from KidneySegLib.models import Bundle, write_bundle

SIZE = (24, 36, 40)


def ball() -> sitk.Image:
    """A bright ball, right of the middle, in a 1 mm scan that a single tile holds."""
    image = bundles.image_of(np.full(SIZE, 40, np.int16), (1.0, 1.0, 1.0))
    return bundles.paint(image, (5.0, -20.0, 30.0), (9.0, 9.0, 9.0), 160)


def shifted_bundle(folder: Path, **changes: object) -> Bundle:
    """A network that sees everything one voxel to the side, so that a mirrored pass sees it on the other side."""
    state = bundles.pointwise_state([bundles.threshold_line(100), bundles.threshold_line(200)])
    weight = state["encoder.0.0.weight"]
    weight[0, 0, 1, 1, 1], weight[1, 0, 1, 1, 1] = 0.0, 0.0
    weight[0, 0, 1, 1, 0], weight[1, 0, 1, 1, 0] = 1.0, -1.0
    made = bundles.spec(folder.name, patch_size=(24, 36, 40), mirror_axes=(2,), mirror=True, **changes)
    return write_bundle(folder, made, state)


def test_passes_are_turned_back_and_averaged(tmp_path: Path) -> None:
    bundle = shifted_bundle(tmp_path / "shifted", metrics={CALIBRATION_KEY: {}})
    result = Engine(bundle, device="cpu", precision="float32").run(ball())
    assert result.evidence is not None
    (part,) = result.evidence
    assert part.passes.shape[:2] == (2, 2)
    plain, mirrored = part.passes[:, 0] >= 128
    # One pass is the other, two voxels further along x.
    np.testing.assert_array_equal(plain[:, :, 2:], mirrored[:, :, :-2])
    assert not np.array_equal(plain, mirrored)
    # The result is the mean of the logits: both must say so, or one must outvote the other.
    labels = sitk.GetArrayFromImage(result.labels) > 0
    assert plain.sum() == mirrored.sum()
    assert 0 < labels.sum() <= plain.sum()
    # The evidence lies where the scan does: its masks' common centre is the ball's.
    index = np.argwhere(plain & mirrored).mean(axis=0) + part.box.start
    np.testing.assert_allclose(part.grid.centre_of_mm(index.tolist()), (5.0, -20.0, 30.0), atol=0.2)


def test_none_without_a_calibration_or_with_a_single_pass(tmp_path: Path) -> None:
    uncalibrated = shifted_bundle(tmp_path / "uncalibrated")
    assert not has_evidence(uncalibrated)
    assert Engine(uncalibrated, device="cpu", precision="float32").run(ball()).evidence is None
    calibrated = shifted_bundle(tmp_path / "calibrated", metrics={CALIBRATION_KEY: {}})
    assert Engine(calibrated, device="cpu", precision="float32", mirror="off").run(ball()).evidence is None


def test_nothing_found_is_evidence_too(tmp_path: Path) -> None:
    bundles.write_localiser(tmp_path / "coarse")
    bundle = shifted_bundle(tmp_path / "fine", metrics={CALIBRATION_KEY: {}}, localiser="coarse")
    empty = bundles.image_of(np.full(SIZE, 40, np.int16), (1.0, 1.0, 1.0))
    assert Engine(bundle, device="cpu", precision="float32").run(empty).evidence == ()


@pytest.mark.parametrize("outputs", [("parenchyma",), ("parenchyma", "cortex"), ("cyst", "cortex", "parenchyma")])
def test_kept_are_parenchyma_and_cortex_in_this_order(outputs: tuple[str, ...]) -> None:
    image = bundles.image_of(np.zeros((2, 2, 2), np.int16), (1.0, 1.0, 1.0))
    grid = grid_of(frame_of(image), (1.0, 1.0, 1.0))
    values = np.stack([np.full((2, 2, 2), 0.11 * (n + 1), np.float32) for n in range(len(outputs))])
    spec = bundles.spec(outputs=outputs, network_arguments={"out_channels": len(outputs)})
    kept = evidence_of([values, values], spec, grid, Box((0, 0, 0), (2, 2, 2)))
    assert isinstance(kept, Evidence)
    wanted = [0.11 * (outputs.index(n) + 1) for n in ("parenchyma", "cortex") if n in outputs]
    assert kept.passes[:, :, 0, 0, 0].tolist() == [[round(255 * v) for v in wanted]] * 2
