"""Data sets of outlined pictures: folders, VIA polygons, patients, splits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from KidneySegLib.errors import InputError
from KidneySegLib.training.ultrasound.dataset import OutlinedImage, find_outlined
from KidneySegLib.training.ultrasound.split import split_by_patient
from KidneySegLib.ultrasound.via import read_via_csv

HEADER = (
    "filename", "file_size", "file_attributes", "region_count", "region_id",
    "region_shape_attributes", "region_attributes",
)  # fmt: skip


def row(name: str, shape: dict[str, object], anatomy: str = "Capsule") -> list[str]:
    what = {"Anatomy": anatomy} if shape else {}
    return [name, "1", json.dumps({"View": "Longitudinal"}), "1", "0", json.dumps(shape), json.dumps(what)]


def write_table(path: Path, rows: list[list[str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


SQUARE = {"name": "polygon", "all_points_x": [10, 30, 30, 10], "all_points_y": [20, 20, 50, 50]}


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture() -> np.ndarray:
    return np.full((80, 100), 90, np.uint8)


def test_polygons_become_masks(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "labels.csv",
        [
            row("1_IM-1-1_anon.png", SQUARE),
            row("1_IM-1-1_anon.png", {**SQUARE, "all_points_x": [12, 20, 20, 12]}, "Central Echo Complex"),
            row("2_IM-1-1_anon.png", {}),
            row("3_IM-1-1_anon.png", {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 4}),
            row("4_IM-1-1_anon.png", {"name": "circle", "cx": 40, "cy": 40, "r": 20}),
        ],
    )
    read = read_via_csv(table)
    assert list(read) == [f"{n}_IM-1-1_anon.png" for n in (1, 2, 3, 4)]
    mask = read["1_IM-1-1_anon.png"].mask("Capsule", (80, 100))
    assert (np.flatnonzero(mask.any(axis=1))[[0, -1]] == [20, 50]).all()
    assert (np.flatnonzero(mask.any(axis=0))[[0, -1]] == [10, 30]).all()
    assert mask.sum() == 21 * 31
    assert read["2_IM-1-1_anon.png"].regions == ()
    assert not read["2_IM-1-1_anon.png"].mask("Capsule", (80, 100)).any()
    assert read["3_IM-1-1_anon.png"].mask("Capsule", (80, 100)).sum() == 11 * 5
    assert read["4_IM-1-1_anon.png"].mask("Capsule", (80, 100)).sum() == pytest.approx(np.pi * 400, rel=0.05)
    assert read["1_IM-1-1_anon.png"].attributes["View"] == "Longitudinal"


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    table = write_table(tmp_path / "a.csv", [row("a.png", SQUARE), ["b.png", "1", "{}", "1", "0", "{oops", "{}"]])
    with pytest.raises(InputError, match="line 3"):
        read_via_csv(table)
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="VIA"):
        read_via_csv(tmp_path / "b.csv")


def test_the_open_kidney_form_is_read_as_it_comes(tmp_path: Path) -> None:
    for name in ("7_IM-0001-0001_anon.png", "7_IM-0001-0002_anon.png", "8_IM-0001-0001_anon.png"):
        save(tmp_path / "images" / name, picture())
    write_table(
        tmp_path / "reviewed_labels_1.csv",
        [
            row("7_IM-0001-0001_anon.png", SQUARE),
            row("7_IM-0001-0002_anon.png", SQUARE),
            row("8_IM-0001-0001_anon.png", {}),
            row("9_IM-0001-0001_anon.png", SQUARE),
        ],
    )
    found = find_outlined(tmp_path)
    assert [(i.image.name[:1], i.patient) for i in found.images] == [("7", "7"), ("7", "7")]
    assert found.images[0].kidney((80, 100)).sum() == 21 * 31
    assert any("1 pictures without a region Capsule" in note for note in found.notes)
    assert any("1 outlined pictures are not in the folder" in note for note in found.notes)


def test_two_readers_tables_need_a_choice(tmp_path: Path) -> None:
    save(tmp_path / "1_IM-1-1.png", picture())
    for reader in (1, 2):
        write_table(tmp_path / f"reviewed_labels_{reader}.csv", [row("1_IM-1-1.png", SQUARE)])
    with pytest.raises(InputError, match="--annotations"):
        find_outlined(tmp_path)
    assert len(find_outlined(tmp_path, tmp_path / "reviewed_labels_2.csv").images) == 1


def test_folders_of_pictures_and_masks(tmp_path: Path) -> None:
    mask = np.zeros((80, 100), np.uint8)
    mask[10:20, 10:20] = 1
    save(tmp_path / "images" / "a.jpg", picture())
    save(tmp_path / "images" / "b.png", picture())
    save(tmp_path / "images" / "c.png", picture())
    save(tmp_path / "masks" / "a.png", mask)
    save(tmp_path / "masks" / "b.png", np.zeros((80, 100), np.uint8))
    found = find_outlined(tmp_path)
    assert [i.image.name for i in found.images] == ["a.jpg", "b.png"]
    assert [int(i.kidney((80, 100)).sum()) for i in found.images] == [100, 0]
    assert any("1 pictures without a mask" in note for note in found.notes)
    with pytest.raises(InputError, match="100 x 80"):
        found.images[0].kidney((80, 101))


def test_patients_come_from_their_table(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "images" / name, picture())
        save(tmp_path / "masks" / name, picture())
    assert {i.patient for i in find_outlined(tmp_path).images} == {"a.png", "b.png"}
    (tmp_path / "patients.csv").write_text("filename,patient\na.png,x\nb.png,x\n")
    assert {i.patient for i in find_outlined(tmp_path).images} == {"x"}
    (tmp_path / "patients.csv").write_text("filename,patient\na.png,x\n")
    with pytest.raises(InputError, match=r"b\.png"):
        find_outlined(tmp_path)


def test_an_empty_folder_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="masks"):
        find_outlined(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        find_outlined(tmp_path / "none")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=120), st.integers(0, 5))
def test_no_patient_is_on_two_sides(patients: list[int], seed: int) -> None:
    images = [OutlinedImage(Path(f"{n}.png"), str(patient)) for n, patient in enumerate(patients)]
    if len(set(patients)) < 10:
        with pytest.raises(InputError):
            split_by_patient(images[:1], 0.1, 0.3, seed)
        return
    split = split_by_patient(images, 0.1, 0.3, seed)
    sets = [{i.patient for i in part} for part in (split.training, split.validation, split.test)]
    assert len(sets[0] | sets[1] | sets[2]) == sum(map(len, sets))
    assert sorted(i.image.name for part in (split.training, split.validation, split.test) for i in part) == sorted(
        i.image.name for i in images
    )
    assert split == split_by_patient(images, 0.1, 0.3, seed)


def test_the_paper_s_shares_give_the_paper_s_numbers() -> None:
    images = [OutlinedImage(Path(f"{n}.png"), str(n)) for n in range(514)]
    split = split_by_patient(images, 60 / 514, 159 / 514, 1)
    assert (len(split.training), len(split.validation), len(split.test)) == (295, 60, 159)
