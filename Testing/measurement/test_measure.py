"""The measurement table: literal volumes, empty cells, flags, parts of a grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.errors import Cancelled, InputError
from KidneySegLib.labels import LABELS, Side, Structure
from KidneySegLib.measurement import COLUMNS, MeasurementTable, Patient, Row, measure
from KidneySegLib.progress import CancelToken, Progress
from Testing.postprocessing.patient import DIRECTIONS

DESIGN_COLUMNS = [
    *("case_id", "side", "parenchyma_ml", "cortex_ml", "medulla_ml", "cortex_fraction", "split_percent", "cyst_ml"),
    *("mass_ml", "length_mm", "cortical_thickness_mm", "cortex_hu_mean", "medulla_hu_mean", "flags", "model", "source"),
]


def case(
    boxes: dict[int, tuple[slice, ...]],
    hu: dict[int, int] | None = None,
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    direction: np.ndarray | None = None,
    shape: tuple[int, int, int] = (30, 40, 60),
) -> tuple[sitk.Image, sitk.Image]:
    """Labels and a scan on one grid; later ids are drawn over earlier ones."""
    values = np.zeros(shape, dtype=np.uint8)
    for label_id, box in boxes.items():
        values[box] = label_id
    scan = np.full(shape, 30, dtype=np.int16)
    for label_id, value in (hu or {}).items():
        scan[values == label_id] = value
    labels, image = sitk.GetImageFromArray(values), sitk.GetImageFromArray(scan)
    for made in (labels, image):
        made.SetSpacing(spacing)
        made.SetOrigin((-17.0, 5.0, 300.0))
        made.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return labels, image


RIGHT = (slice(5, 25), slice(5, 30), slice(5, 25))
RIGHT_INNER = (slice(9, 21), slice(10, 25), slice(10, 20))
LEFT = (slice(5, 25), slice(10, 30), slice(35, 55))
LEFT_INNER = (slice(9, 21), slice(14, 26), slice(39, 51))


def row(table: MeasurementTable, side: str) -> Row:
    found = table.row(side)
    assert found is not None
    return found


def test_the_first_columns_are_those_of_the_design() -> None:
    assert list(COLUMNS[:16]) == DESIGN_COLUMNS
    assert COLUMNS[-8:-4] == ("traffic_light", "total_kidney_ml", "total_kidney_ml_per_m", "ellipsoid_ml")


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_volumes_are_counts_times_the_volume_of_a_voxel(direction: np.ndarray) -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 3: LEFT, 4: LEFT_INNER}, direction=direction)
    table = measure(labels, image)
    voxel_ml = 0.7 * 0.8 * 2.5 / 1000
    right_cortex, right_medulla = 20 * 25 * 20 - 12 * 15 * 10, 12 * 15 * 10
    left_cortex, left_medulla = 20 * 20 * 20 - 12 * 12 * 12, 12 * 12 * 12
    right, left, both = (row(table, side) for side in ("right", "left", "both"))
    assert right.cortex_ml == pytest.approx(right_cortex * voxel_ml, rel=1e-9)
    assert right.medulla_ml == pytest.approx(right_medulla * voxel_ml, rel=1e-9)
    assert left.parenchyma_ml == pytest.approx((left_cortex + left_medulla) * voxel_ml, rel=1e-9)
    assert both.parenchyma_ml == pytest.approx((10_000 + 8_000) * voxel_ml, rel=1e-9)
    assert right.cortex_fraction == pytest.approx(right_cortex / 10_000)
    assert right.split_percent == pytest.approx(100 * 10_000 / 18_000)
    assert left.split_percent == pytest.approx(100 * 8_000 / 18_000)
    assert both.split_percent is None
    assert both.length_mm is None
    assert right.length_mm is not None
    assert [r.side for r in table] == ["right", "left", "both"]


def test_hu_are_means_of_eroded_masks() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER}, {1: 200, 2: 120})
    values, scan = sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(image)
    # What lies at the borders is mixed with its neighbours, and must not count.
    border = np.zeros(values.shape, dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            border |= np.roll(values, step, axis) != values
    scan[border] = -500
    mixed = sitk.GetImageFromArray(scan)
    mixed.CopyInformation(image)
    right = row(measure(labels, mixed), "right")
    assert (right.cortex_hu_mean, right.medulla_hu_mean) == (200.0, 120.0)


def test_hu_of_a_cortex_one_voxel_thin_is_still_given() -> None:
    inner = tuple(slice(s.start + 1, s.stop - 1) for s in RIGHT)
    labels, image = case({1: RIGHT, 2: inner}, {1: 180, 2: 100})
    assert row(measure(labels, image), "right").cortex_hu_mean == 180.0


def test_both_hu_weigh_by_voxels() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 3: LEFT, 4: LEFT_INNER}, {2: 100, 4: 140})
    inside = {"right": 10 * 13 * 8, "left": 10**3}
    expected = (100 * inside["right"] + 140 * inside["left"]) / sum(inside.values())
    assert row(measure(labels, image), "both").medulla_hu_mean == pytest.approx(expected)


def test_an_undivided_kidney_has_empty_cells_not_zeros() -> None:
    labels, image = case({13: RIGHT, 3: LEFT, 4: LEFT_INNER}, {13: 150})
    table = measure(labels, image)
    for side in ("right", "both"):
        undivided = row(table, side)
        assert undivided.parenchyma_ml is not None
        for name in ("cortex_ml", "medulla_ml", "cortex_fraction", "cortical_thickness_mm", "cortex_hu_mean",
                     "medulla_hu_mean"):  # fmt: skip
            assert getattr(undivided, name) is None, name
        assert "undivided_parenchyma" in undivided.flags
    assert row(table, "left").cortex_ml is not None
    assert "undivided_parenchyma" not in row(table, "left").flags


def test_cysts_and_masses_are_empty_unless_the_model_knows_them_or_they_are_there() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER})
    assert (row(measure(labels, image), "right").cyst_ml, row(measure(labels, image), "right").mass_ml) == (None, None)
    knows = measure(labels, image, structures=(Structure.CORTEX, Structure.MEDULLA, Structure.CYST))
    assert (row(knows, "right").cyst_ml, row(knows, "right").mass_ml) == (0.0, None)
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 7: (slice(5, 7), slice(5, 10), slice(5, 10)), 3: LEFT})
    table = measure(labels, image)
    assert row(table, "right").mass_ml == pytest.approx(50 * 0.7 * 0.8 * 2.5 / 1000)
    assert row(table, "left").mass_ml == 0.0
    assert row(table, "right").parenchyma_ml == pytest.approx((10_000 - 50) * 0.7 * 0.8 * 2.5 / 1000)


def test_one_kidney() -> None:
    labels, image = case({3: LEFT, 4: LEFT_INNER})
    table = measure(labels, image)
    assert [r.side for r in table] == ["left", "both"]
    assert row(table, "left").split_percent == 100.0
    assert "one_kidney" in row(table, "left").flags
    assert row(table, "left").parenchyma_ml == row(table, "both").parenchyma_ml


def test_no_kidney_is_one_row_of_empty_cells() -> None:
    labels, image = case({})
    (only,) = measure(labels, image, case_id="A", model="m", patient=Patient("m", 60, 170, 70, 1.2)).rows
    assert (only.side, only.case_id, only.model) == ("both", "A", "m")
    assert only.flags == ("no_kidney",)
    assert only.parenchyma_ml is only.cortex_ml is only.parenchyma_ml_per_m2 is None
    assert only.egfr_ckd_epi_2021 == pytest.approx(69.2, abs=0.05)


def test_fused_kidneys_have_no_length_and_no_sides() -> None:
    labels, image = case({9: RIGHT, 10: RIGHT_INNER})
    assert row(measure(labels, image), "unsided").length_mm is not None
    table = measure(labels, image, flags=[(Side.UNSIDED, "fused_kidneys")])
    assert [r.side for r in table] == ["unsided", "both"]
    assert row(table, "unsided").length_mm is None


def test_flags_go_to_their_kidney_and_those_of_the_case_to_all() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 3: LEFT, 4: LEFT_INNER})
    flags = ["phase_uncertain", (None, "hu_clipped"), (Side.LEFT, "pelvic_kidney")]
    table = measure(labels, image, flags=iter(flags))
    case_flags = ("hu_clipped", "phase_uncertain")
    assert row(table, "right").flags == (*case_flags, "kidney_small")
    assert row(table, "left").flags == (*case_flags, "pelvic_kidney", "kidney_small")
    assert row(table, "both").flags == table.flags == (*case_flags, "pelvic_kidney", "kidney_small")


def test_indexed_volumes() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 3: LEFT, 4: LEFT_INNER})
    table = measure(labels, image, patient=Patient("f", 40, 160, 64, 0.8))
    both, right = row(table, "both"), row(table, "right")
    bsa = (160 * 64 / 3600) ** 0.5
    assert both.bsa_mosteller_m2 == right.bsa_mosteller_m2 == pytest.approx(bsa)
    assert both.parenchyma_ml is not None
    assert both.parenchyma_ml_per_m2 == pytest.approx(both.parenchyma_ml / bsa)
    assert both.parenchyma_ml_per_m == pytest.approx(both.parenchyma_ml / 1.6)
    assert both.parenchyma_ml_per_kg == pytest.approx(both.parenchyma_ml / 64)
    assert right.cortex_ml is not None
    assert right.cortex_ml_per_m2 == pytest.approx(right.cortex_ml / bsa)
    assert right.egfr_ckd_epi_2021 is None
    assert both.kdigo_stage == "G1"


def test_refusals_come_back_as_notes() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER})
    table = measure(labels, image, patient=Patient("m", 12, creatinine=0.6))
    assert row(table, "both").egfr_ckd_epi_2021 is None
    assert any("adults only" in note for note in table.notes)


def test_a_part_of_the_grid_gives_the_same_table() -> None:
    labels, image = case({1: RIGHT, 2: RIGHT_INNER, 3: LEFT, 4: LEFT_INNER}, {1: 200, 2: 120, 3: 190, 4: 110},
                         direction=DIRECTIONS["oblique"])  # fmt: skip
    # The image's HU differ from place to place, so a wrong offset would show.
    ramp = sitk.GetArrayFromImage(image) + np.arange(60, dtype=np.int16)
    scan = sitk.GetImageFromArray(ramp)
    scan.CopyInformation(image)
    whole, part = measure(labels, scan), measure(labels[3:57, 2:35, 4:28], scan)
    for a, b in zip(whole, part, strict=True):
        for name in COLUMNS:
            assert getattr(a, name) == (
                pytest.approx(getattr(b, name)) if isinstance(getattr(b, name), float) else getattr(b, name)
            )


def test_every_id_is_counted_once() -> None:
    boxes = {label.id: (slice(2, 28), slice(2, 38), slice(3 * n + 2, 3 * n + 5)) for n, label in enumerate(LABELS)}
    labels, image = case(boxes, shape=(30, 40, 60))
    table = measure(labels, image)
    slab_ml = 26 * 36 * 3 * 0.7 * 0.8 * 2.5 / 1000
    assert row(table, "both").parenchyma_ml == pytest.approx(9 * slab_ml)
    assert row(table, "both").cyst_ml == row(table, "both").mass_ml == pytest.approx(3 * slab_ml)
    assert [r.side for r in table] == ["right", "left", "unsided", "both"]


def test_labels_off_the_grid_and_unknown_ids_are_refused() -> None:
    labels, image = case({1: RIGHT})
    image.SetOrigin((0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="grid"):
        measure(labels, image)
    labels, image = case({99: RIGHT})
    with pytest.raises(InputError, match="99"):
        measure(labels, image)


def test_cancel() -> None:
    labels, image = case({1: RIGHT})
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        measure(labels, image, progress=Progress(token=token))
