"""The engine end to end, on networks whose answers are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from analytic_bundles import (
    PARENCHYMA_HU,
    image_of,
    paint,
    pointwise_state,
    spec,
    threshold_line,
    world_of,
    write_fine,
    write_localiser,
)
from scipy.spatial.transform import Rotation
from test_grid import ORIENTATIONS

from KidneySegLib.errors import Cancelled, DeviceError, InputError, ModelError
from KidneySegLib.inference import Engine, EngineResult
from KidneySegLib.inference.backend import make_backend, make_torch_backend
from KidneySegLib.inference.engine import _Case
from KidneySegLib.labels import OverviewLabel
from KidneySegLib.models import Bundle, write_bundle
from KidneySegLib.progress import STAGES, CancelToken, Progress

# Two "kidneys" with a bright core: world centre (x, y, z), radii in mm. Their boxes with margins do not meet.
RIGHT = ((-38.0, -25.0, 20.0), (15.0, 13.0, 22.0))
LEFT = ((52.0, -15.0, 40.0), (14.0, 16.0, 20.0))
CORE = 0.6


def ball_ml(radii: tuple[float, ...], scale: float = 1.0) -> float:
    return float(4 / 3 * np.pi * np.prod(np.array(radii) * scale)) / 1000


def scan(
    direction: np.ndarray | None = None, spacing: tuple[float, ...] = (1.1, 1.1, 2.0), kind: type = np.int16
) -> sitk.Image:
    """A box of soft tissue in air with both kidneys, stored in any direction; about 180x120x100 mm in world."""
    direction = np.eye(3) if direction is None else direction
    extent = np.array([180.0, 120.0, 110.0])
    along = np.abs(direction.T) @ extent if np.allclose(np.abs(direction).max(axis=0), 1) else np.full(3, 190.0)
    size = np.round(along / np.array(spacing)).astype(int)
    image = image_of(np.full(size[::-1], -1000, kind), spacing, direction)
    body = (np.abs(world_of(image) - np.array([10.0, -20.0, 30.0])) < np.array([85.0, 55.0, 50.0])).all(-1)
    array = sitk.GetArrayFromImage(image)
    array[body] = 40
    image = image_of(array, spacing, direction)
    for centre, radii in (RIGHT, LEFT):
        image = paint(image, centre, radii, 150)
        image = paint(image, centre, tuple(CORE * r for r in radii), 300)
    return image


def small_scan(spacing_mm: float = 1.5) -> sitk.Image:
    """The left kidney in a small body, 60x60x72 mm."""
    size = [round(n / spacing_mm) for n in (72, 60, 60)]
    image = image_of(np.full(size, 40, np.int16), (spacing_mm,) * 3)
    centre = (12.0, -19.0, 28.0)
    return paint(paint(image, centre, LEFT[1], 150), centre, tuple(CORE * r for r in LEFT[1]), 300)


@pytest.fixture(scope="module")
def engine(fine: Bundle) -> Engine:
    return Engine(fine, device="cpu", precision="float32")


def on_whole_grid(result: EngineResult, image: sitk.Image) -> np.ndarray:
    """The result's labels pasted into an array of the scan's size."""
    whole = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    whole.CopyInformation(image)
    size = [int(n) for n in result.labels.GetSize()]
    return sitk.GetArrayFromImage(sitk.Paste(whole, result.labels, size, [0, 0, 0], list(result.index)))


def check_kidneys(result: EngineResult, image: sitk.Image, tolerance: float = 0.03) -> None:
    """Volumes and centres of both kidneys and their cores, and the sub-grid's place in the world."""
    np.testing.assert_allclose(result.labels.GetOrigin(), image.TransformIndexToPhysicalPoint(result.index), atol=1e-9)
    assert result.labels.GetDirection() == image.GetDirection()
    assert result.labels.GetSpacing() == image.GetSpacing()
    labels = on_whole_grid(result, image)
    world = world_of(image)
    voxel_ml = np.prod(image.GetSpacing()) / 1000
    middle = 7.0  # World x between the two.
    for (centre, radii), side in ((RIGHT, world[..., 0] < middle), (LEFT, world[..., 0] >= middle)):
        for lowest, scale in ((1, 1.0), (2, CORE)):
            mask = (labels >= lowest) & side
            assert mask.sum() * voxel_ml == pytest.approx(ball_ml(radii, scale), rel=tolerance / scale)
            np.testing.assert_allclose(world[mask].mean(axis=0), centre, atol=0.35)


def test_both_kidneys_are_found_where_they_are(engine: Engine) -> None:
    image = scan()
    result = engine.run(image)
    check_kidneys(result, image)
    assert (result.device, result.precision, result.backend) == ("cpu", "float32", "openvino")
    assert result.divided
    assert result.raw_names == {0: "background", 1: "medulla", 2: "cortex"}
    assert list(result.seconds) == ["localise", "preprocess", "network", "resample"]
    assert all(s > 0 for s in result.seconds.values())
    assert result.notes == ()


def test_the_answer_is_that_of_a_threshold_on_the_scan_itself(fine: Bundle) -> None:
    # At the network's own spacing nothing is interpolated, so each voxel is known.
    image = scan(spacing=(1.0, 1.0, 1.0))
    result = Engine(fine, device="cpu", precision="float32").run(image)
    hu = sitk.GetArrayFromImage(image)
    expected = (hu > PARENCHYMA_HU).astype(np.uint8) + (hu > 200)
    np.testing.assert_array_equal(on_whole_grid(result, image), expected)


@pytest.mark.parametrize("direction", ORIENTATIONS[5::11])
def test_any_orientation_gives_the_same_kidneys(engine: Engine, direction: np.ndarray) -> None:
    image = scan(direction, (1.2, 1.4, 1.7))
    check_kidneys(engine.run(image), image, tolerance=0.04)


@pytest.mark.parametrize("flip", [np.eye(3), np.diag([1.0, 1.0, -1.0])])
def test_an_oblique_scan_gives_the_same_kidneys(engine: Engine, flip: np.ndarray) -> None:
    image = scan(Rotation.from_euler("xyz", (25, 20, -10), degrees=True).as_matrix() @ flip, (1.3, 1.3, 1.6))
    # Turning interpolates once more each way.
    check_kidneys(engine.run(image), image, tolerance=0.05)


def test_floating_point_scans_and_thick_slices(engine: Engine) -> None:
    image = scan(spacing=(0.8, 0.8, 5.0), kind=np.float32)
    check_kidneys(engine.run(image), image, tolerance=0.08)


def test_bfloat16_gives_nearly_the_same_masks(fine: Bundle, engine: Engine) -> None:
    try:
        half = Engine(fine, device="cpu", precision="bfloat16")
    except DeviceError:
        pytest.skip("this processor has no bfloat16 units")
    image = scan()
    result = half.run(image)
    a, b = on_whole_grid(result, image) > 0, on_whole_grid(engine.run(image), image) > 0
    assert result.precision == "bfloat16"
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.995


def test_torch_gives_the_same_masks(fine: Bundle, engine: Engine) -> None:
    image = small_scan()
    reference = Engine(fine, device="cpu", precision="float32", make=make_torch_backend).run(image)
    assert reference.backend == "torch"
    np.testing.assert_array_equal(on_whole_grid(reference, image), on_whole_grid(engine.run(image), image))


def test_without_localiser_the_whole_body_is_searched(fine: Bundle, engine: Engine) -> None:
    image = small_scan()
    result = Engine(fine, device="cpu", precision="float32", use_localiser=False).run(image)
    assert result.overview is None
    np.testing.assert_array_equal(on_whole_grid(result, image), on_whole_grid(engine.run(image), image))


@pytest.mark.parametrize("mirror", ["on", "off"])
@pytest.mark.parametrize("flexible", [True, False])
def test_tiles_and_mirroring_do_not_matter_to_a_pointwise_network(tmp_path: Path, engine, mirror, flexible) -> None:
    bundle = write_fine(
        tmp_path / "other", patch_size=(34, 26, 40), flexible_tiles=flexible, mirror_axes=(0, 1, 2), tile_step=0.7
    )
    image = small_scan()
    result = Engine(bundle, device="cpu", precision="float32", mirror=mirror).run(image)
    np.testing.assert_array_equal(on_whole_grid(result, image), on_whole_grid(engine.run(image), image))


def test_the_overview_shows_the_kidneys_in_the_world(engine: Engine) -> None:
    result = engine.run(scan(ORIENTATIONS[30], (1.2, 1.4, 1.7)))
    overview = result.overview
    assert overview is not None
    assert overview.GetSpacing() == (4.0, 4.0, 4.0)
    assert overview.GetPixelID() == sitk.sitkUInt8
    mask = sitk.GetArrayFromImage(overview) == OverviewLabel.KIDNEY
    assert mask.sum() * 0.064 == pytest.approx(ball_ml(RIGHT[1]) + ball_ml(LEFT[1]), rel=0.1)
    for centre, _ in (RIGHT, LEFT):
        assert overview[overview.TransformPhysicalPointToIndex(centre)] == OverviewLabel.KIDNEY


def test_no_kidney_is_an_empty_map_of_the_whole_scan(engine: Engine) -> None:
    image = image_of(np.full((20, 30, 40), 40, np.int16), (2.0, 2.0, 3.0))
    result = engine.run(image)
    assert result.labels.GetSize() == image.GetSize()
    assert result.index == (0, 0, 0)
    assert sitk.GetArrayViewFromImage(result.labels).max() == 0
    assert result.overview is not None


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 2, 2), (60, 1, 60)])
def test_tiny_scans_do_not_fail(engine: Engine, shape: tuple[int, int, int]) -> None:
    image = image_of(np.full(shape, 150, np.int16), (1.0, 1.0, 1.0))
    labels = engine.run(image).labels
    found = sitk.GetArrayViewFromImage(labels)
    assert set(np.unique(found)) <= {0, 1}


def test_a_kidney_cut_by_the_scan_is_kept_up_to_the_edge(engine: Engine) -> None:
    whole = scan(spacing=(1.0, 1.0, 1.0))
    cut = whole[:, :, 50:]
    result = engine.run(cut)
    hu = sitk.GetArrayFromImage(cut)
    np.testing.assert_array_equal(on_whole_grid(result, cut), (hu > PARENCHYMA_HU).astype(np.uint8) + (hu > 200))
    assert on_whole_grid(result, cut)[0].any()


def test_a_box_that_cuts_a_kidney_grows(tmp_path: Path) -> None:
    # The localiser sees the upper third of a long kidney only; the fine network sees it all.
    write_localiser(tmp_path / "coarse", kidney_hu=250.0)
    fine = write_fine(tmp_path / "fine", localiser="coarse", patch_size=(32, 32, 32))
    image = image_of(np.full((150, 60, 60), 40, np.int16), (1.0, 1.0, 1.0))
    image = paint(image, (10.0, -20.0, 30.0), (14.0, 14.0, 70.0), 150)
    array = sitk.GetArrayFromImage(image)
    array[110:][array[110:] > 100] = 300
    image = image_of(array, (1.0, 1.0, 1.0))
    result = Engine(fine, device="cpu", precision="float32").run(image)
    np.testing.assert_array_equal(on_whole_grid(result, image) > 0, array > PARENCHYMA_HU)


def test_kidneys_that_are_one_are_looked_at_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The localiser sees both ends of a long kidney and not its middle, as it does with the bridge of a horseshoe.
    write_localiser(tmp_path / "coarse", kidney_hu=250.0)
    fine = write_fine(tmp_path / "fine", localiser="coarse", patch_size=(32, 32, 32))
    image = image_of(np.full((60, 60, 240), 40, np.int16), (1.0, 1.0, 1.0))
    image = paint(image, (10.0, -20.0, 30.0), (110.0, 14.0, 14.0), 150)
    array = sitk.GetArrayFromImage(image)
    for end in (array[:, :, :100], array[:, :, 140:]):
        end[end > 100] = 300
    image = image_of(array, (1.0, 1.0, 1.0))
    engine = Engine(fine, device="cpu", precision="float32")
    looks = []
    look = _Case._look
    monkeypatch.setattr(_Case, "_look", lambda case, core: looks.append(core) or look(case, core))
    result = engine.run(image)
    np.testing.assert_array_equal(on_whole_grid(result, image) > 0, array > PARENCHYMA_HU)
    assert [core.shape[2] for core in looks] == [112, 240]


def test_a_network_without_cortex_says_undivided(tmp_path: Path) -> None:
    made = spec("whole", outputs=("parenchyma",), network_arguments={"out_channels": 1, "features": [2, 2]})
    bundle = write_bundle(tmp_path / "whole", made, pointwise_state([threshold_line(PARENCHYMA_HU)]))
    image = small_scan(1.0)
    result = Engine(bundle, device="cpu", precision="float32").run(image)
    assert not result.divided
    assert result.raw_names == {0: "background", 1: "parenchyma"}
    np.testing.assert_array_equal(on_whole_grid(result, image), sitk.GetArrayFromImage(image) > PARENCHYMA_HU)


def test_a_softmax_network_with_a_cyst(tmp_path: Path) -> None:
    outputs = ("background", "medulla", "cortex", "cyst")
    lines = [(0.0, 0.0), threshold_line(100, 10), threshold_line(150, 20), (-60.0, -60.0)]
    made = spec(
        "cyst", outputs=outputs, activation="softmax", network_arguments={"out_channels": 4, "features": [2, 2]}
    )
    bundle = write_bundle(tmp_path / "cyst", made, pointwise_state(lines))
    array = np.zeros((30, 30, 30), np.int16) + 40
    array[5:25, 5:25, 5:25] = 150
    array[10:20, 10:20, 10:20] = 300
    array[12:15, 12:15, 12:15] = -100
    result = Engine(bundle, device="cpu", precision="float32").run(image_of(array, (1.0, 1.0, 1.0)))
    expected = np.select([array == 150, array == 300, array == -100], [1, 2, 3], 0)
    np.testing.assert_array_equal(on_whole_grid(result, image_of(array, (1.0, 1.0, 1.0))), expected)
    assert result.raw_names == {0: "background", 1: "medulla", 2: "cortex", 3: "cyst"}


def test_a_warm_engine_gives_the_same_answer_again(engine: Engine) -> None:
    image = scan()
    first = sitk.GetArrayFromImage(engine.run(image).labels)
    engine.run(scan(spacing=(1.4, 1.4, 3.0)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(engine.run(image).labels), first)


def test_progress_tells_stages_in_order_and_up_to_the_end(engine: Engine) -> None:
    events = []
    engine.run(scan(), Progress(listener=events.append))
    stages = list(dict.fromkeys(e.stage for e in events))
    assert stages == ["localise", "preprocess", "network", "resample"]
    assert set(stages) <= set(STAGES)
    for stage in stages:
        fractions = [e.fraction for e in events if e.stage == stage]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


@pytest.mark.parametrize("stage", ["localise", "preprocess", "network", "resample"])
def test_cancelling_stops_in_every_stage(engine: Engine, stage: str) -> None:
    token = CancelToken()

    def listener(event) -> None:
        if event.stage == stage:
            token.cancel()

    with pytest.raises(Cancelled):
        engine.run(scan(), Progress(listener, token))


def test_running_out_of_memory_falls_back_and_says_so(fine: Bundle, engine: Engine) -> None:
    from KidneySegLib.inference.backend import OutOfDeviceMemoryError

    def make(bundle, device, precision):
        backend = make_backend(bundle, device, precision)
        plenty = backend.logits

        def logits(*args, batch_size, **options):
            if batch_size > 1:
                raise OutOfDeviceMemoryError("no")
            return plenty(*args, batch_size=batch_size, **options)

        backend.batch_size = 8
        backend.logits = logits
        return backend

    image = scan()
    events = []
    result = Engine(fine, device="cpu", precision="float32", make=make).run(image, Progress(events.append))
    np.testing.assert_array_equal(on_whole_grid(result, image), on_whole_grid(engine.run(image), image))
    assert any("4 tile" in note for note in result.notes)
    assert any("4 tile" in event.message for event in events)


def test_wrong_images_are_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="2 dimensions"):
        engine.run(sitk.Image([8, 8], sitk.sitkInt16))
    with pytest.raises(InputError, match="3 values"):
        engine.run(sitk.Image([8, 8, 8], sitk.sitkVectorUInt8, 3))


def test_wrong_models_and_options_are_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a localiser"):
        Engine(models / "coarse", device="cpu")
    with pytest.raises(ModelError, match="auto, on, off"):
        Engine(models / "fine", device="cpu", mirror="maybe")
    lonely = write_fine(tmp_path / "lonely", localiser="nowhere")
    with pytest.raises(ModelError, match="nowhere"):
        Engine(lonely, device="cpu")
    Engine(lonely, device="cpu", use_localiser=False)


def test_the_road_on_a_processor_never_imports_torch(models: Path) -> None:
    code = f"""
import sys, builtins
sys.modules["torch"] = None
import numpy as np, SimpleITK as sitk
from KidneySegLib.inference import Engine
image = sitk.GetImageFromArray(np.full((20, 40, 40), 150, np.int16))
result = Engine({str(models / "fine")!r}, device="auto").run(image)
assert sitk.GetArrayFromImage(result.labels).all()
print(sorted(m for m in sys.modules if m.startswith(("torch.", "openvino_telemetry"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
