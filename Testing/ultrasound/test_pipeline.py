"""The whole road: command and function, from a picture to a results folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from KidneySegLib.cli.main import main
from KidneySegLib.errors import OutputError
from KidneySegLib.evaluation.ultrasound import count
from KidneySegLib.resources import embedded_models_dir
from KidneySegLib.ultrasound.pipeline import segment_ultrasound
from KidneySegLib.ultrasound.store import DEFAULT_MODEL, find_ultrasound_bundle, verify_ultrasound_bundle
from KidneySegLib.ultrasound.synthetic import synthetic_image
from Testing.ultrasound.us_dicom import region, write_us

needs_demonstration = pytest.mark.skipif(
    not (embedded_models_dir() / DEFAULT_MODEL).is_dir(), reason="the demonstration bundle is not in this checkout"
)
#: Held out: below `training.seeds.TEST_SEEDS.last`, with a kidney and text.
SEED = 3


@pytest.fixture(scope="module")
def picture() -> object:
    return synthetic_image(SEED, kidney=True, overlay=True)


@needs_demonstration
def test_a_picture_s_kidney_is_outlined_and_measured_in_mm(tmp_path: Path, picture) -> None:  # type: ignore[no-untyped-def]
    Image.fromarray(picture.pixels).save(tmp_path / "a.png")
    arguments = ["ultrasound", "segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-q", "--device", "cpu"]
    status = main([*arguments, "--pixel-mm", f"{picture.pixel_mm:.5f}"])
    assert status == 0
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"mask.png", "segmentation.nii.gz", "measurements.csv", "overlay.png", "provenance.json"}
    found = np.asarray(Image.open(out / "mask.png")) > 0
    assert count(found, picture.kidney).dice > 0.85
    with open(out / "measurements.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["area_mm2"]) == pytest.approx(found.sum() * picture.pixel_mm**2, rel=1e-3)
    assert float(row["area_px"]) == found.sum()
    assert float(row["length_mm"]) == pytest.approx(float(row["length_px"]) * picture.pixel_mm, rel=0.01)
    assert row["model"] == DEFAULT_MODEL
    assert "us_demonstration_model" in row["flags"].split(";")
    labels = sitk.ReadImage(str(out / "segmentation.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels)[0] == 1, found)
    assert labels.GetSpacing()[:2] == pytest.approx((picture.pixel_mm,) * 2, rel=1e-4)


@needs_demonstration
def test_every_output_says_that_the_model_is_a_demonstration(
    tmp_path: Path,
    picture,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    bundle = find_ultrasound_bundle()
    verify_ultrasound_bundle(bundle)
    assert bundle.demonstration
    assert "no patient" in bundle.title
    assert "DEMONSTRATION" in bundle.intended_use
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) < 25e6
    # What was measured; the aim is 95.
    assert bundle.metrics["held_out"]["f1"]["mean_percent"] >= 91
    Image.fromarray(picture.pixels).save(tmp_path / "a.png")
    main(["ultrasound", "segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-q"])
    assert "DEMONSTRATION" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert facts["model"]["demonstration"] is True
    assert any("DEMONSTRATION" in note for note in facts["notes"])


def test_a_loop_gives_a_row_a_frame_and_names_nobody(tmp_path: Path, untrained_bundle) -> None:  # type: ignore[no-untyped-def]
    loop = np.zeros((3, 96, 128), np.uint8)
    loop[:, 10:90, 20:110] = np.random.default_rng(0).integers(40, 200, (3, 80, 90))
    path = write_us(tmp_path / "Doe.dcm", loop, regions=[region((20, 10, 109, 89), (0.05, 0.04))], NumberOfFrames=3)
    result = segment_ultrasound(path, tmp_path / "out", model=untrained_bundle.path, device="cpu")
    assert [row.frame for row in result.rows] == [1, 2, 3]
    assert result.image.pixel_mm == pytest.approx((0.4, 0.5))
    assert not (tmp_path / "out" / "mask.png").exists()
    labels = sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz"))
    assert labels.GetSize() == (128, 96, 3)
    assert labels.GetSpacing()[:2] == pytest.approx((0.5, 0.4))
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir() if p.suffix in (".csv", ".json"))
    assert b"Doe" not in written
    assert b"4711" not in written
    one = segment_ultrasound(path, tmp_path / "one", model=untrained_bundle.path, device="cpu", frame=2)
    assert [row.frame for row in one.rows] == [2]
    np.testing.assert_array_equal(one.masks[0], result.masks[1])


def test_names_burnt_into_the_margins_are_not_in_the_overlay(tmp_path: Path, untrained_bundle) -> None:  # type: ignore[no-untyped-def]
    frame = np.zeros((200, 300), np.uint8)
    frame[60:190, 60:260] = np.random.default_rng(1).integers(40, 160, (130, 200))
    frame[5:15, 5:8] = frame[5:15, 12:15] = frame[5:15, 20:23] = 255
    Image.fromarray(frame).save(tmp_path / "a.png")
    segment_ultrasound(tmp_path / "a.png", tmp_path / "out", model=untrained_bundle.path, device="cpu")
    overlay = np.asarray(Image.open(tmp_path / "out" / "overlay.png").convert("L"))
    # 300 pixels wide is shown at 720: 2.4 times larger.
    assert overlay[: int(40 * 2.4)].max() == 0


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path, untrained_bundle) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        segment_ultrasound(tmp_path / "a.png", tmp_path / "out", model=untrained_bundle.path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segment", "none.png", "-o", "out"], "does not exist"),
        (["segment", "none.png", "-o", "out", "--model", "nobody"], "No ultrasound model"),
        (["segment", "none.png", "-o", "out", "--model", "kidneyseg-arterial"], "Models for CT"),
        (["segment", "none.png", "-o", "out", "--pixel-mm", "1", "2", "3"], "--pixel-mm"),
    ],
)
def test_a_user_s_mistake_is_one_line(
    arguments: list[str], words: str, untrained_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # type: ignore[no-untyped-def]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", str(untrained_bundle.path)]
    assert main(["ultrasound", *arguments, "-q"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
