"""Whatever a user gives: one line that says what is wrong and what to do, status 2, nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.cli.conftest import Finished, a_scan
from Testing.ct.dicom_series import SeriesSpec, write_series


def assert_refused(done: Finished, folder: Path, *words: str) -> None:
    """One line with the words and an advice, no traceback, and no trace of the results folder."""
    assert done.status == 2, done.err
    assert done.err.startswith("kidneyseg: ")
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    assert ". " in done.err or "must be one of" in done.err, f"what to do is missing: {done.err}"
    for word in words:
        assert word in done.err
    assert not folder.exists()
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}")]


def write(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


def truncated_dicom(folder: Path) -> Path:
    files = write_series(folder / "series", SeriesSpec())
    content = files[4].read_bytes()
    files[4].write_bytes(content[: len(content) // 2])
    return folder / "series"


def text_as_nifti(folder: Path) -> Path:
    path = folder / "scan.nii.gz"
    path.write_text("This is not a scan.\n" * 50)
    return path


def magnetic_resonance(folder: Path) -> Path:
    write_series(folder / "series", SeriesSpec(modality="MR"))
    return folder / "series"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def flat_picture(folder: Path) -> Path:
    return write(a_scan()[:, :, 20], folder / "flat.nii.gz")


def not_a_number(folder: Path) -> Path:
    values = sitk.GetArrayFromImage(a_scan()).astype(np.float32)
    values[20, 40, 48] = np.nan
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(a_scan())
    return write(image, folder / "nan.nii.gz")


def grey_picture(folder: Path) -> Path:
    grey = sitk.RescaleIntensity(a_scan(), 0, 255)
    return write(sitk.Cast(grey, sitk.sitkUInt8), folder / "grey.nii.gz")


def nothing_there(folder: Path) -> Path:
    return folder / "nothing.nii.gz"


def truncated_nifti(folder: Path) -> Path:
    path = write(a_scan(), folder / "cut.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated_dicom, ()),
        (text_as_nifti, ("scan.nii.gz", "text")),
        (magnetic_resonance, ("MR",)),
        (empty_folder, ("empty",)),
        (flat_picture, ("flat.nii.gz", "2-D")),
        (not_a_number, ("nan.nii.gz",)),
        (grey_picture, ("grey.nii.gz",)),
        (nothing_there, ("nothing.nii.gz",)),
        (truncated_nifti, ("cut.nii.gz",)),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_input_that_cannot_be_measured(
    kidneyseg: Callable[..., Finished],
    model: Path,
    tmp_path: Path,
    make: Callable[[Path], Path],
    words: tuple[str, ...],
) -> None:
    done = kidneyseg("segment", make(tmp_path), "-o", tmp_path / "out", "--model", model, "--quiet")
    assert_refused(done, tmp_path / "out", *words)


def test_the_same_in_a_process_of_its_own(
    kidneyseg_process: Callable[..., Finished], model: Path, tmp_path: Path
) -> None:
    """No library prints on its own account, which only a real process shows."""
    for make in (truncated_dicom, text_as_nifti, truncated_nifti):
        place = tmp_path / make.__name__
        place.mkdir()
        done = kidneyseg_process("segment", make(place), "-o", place / "out", "--model", model, "--quiet")
        assert_refused(done, place / "out")


def test_several_series_are_listed_and_one_can_be_chosen(
    kidneyseg: Callable[..., Finished], model: Path, tmp_path: Path
) -> None:
    for number, description in ((1, "arterial 2.0"), (2, "venous 2.0")):
        write_series(
            tmp_path / "study" / str(number),
            SeriesSpec(description=description, series_uid=f"1.2.826.0.1.3680043.8.498.{number}"),
        )
    out = tmp_path / "out"
    done = kidneyseg("segment", tmp_path / "study", "-o", out, "--model", model, "--quiet")
    assert done.status == 2
    assert all(text in done.err for text in ("arterial 2.0", "venous 2.0", "12", "498.2", "--series"))
    assert not out.exists()
    chosen = "1.2.826.0.1.3680043.8.498.2"
    done = kidneyseg("segment", tmp_path / "study", "-o", out, "--model", model, "--quiet", "--series", chosen)
    assert done.status == 0, done.err


def test_a_file_where_the_results_folder_should_be(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("precious")
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--model", model, "--quiet")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "is a file" in done.err
    assert (tmp_path / "out").read_text() == "precious"


def test_a_file_in_the_way_to_the_results_folder(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    done = kidneyseg("segment", scan, "-o", tmp_path / "file" / "out", "--model", model, "--quiet")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


@pytest.fixture
def mount_tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk with some options, or skip."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs root and a Linux that may mount")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_can_only_be_read(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, mount_tmpfs: Callable[[str], Path]
) -> None:
    disk = mount_tmpfs("ro")
    done = kidneyseg("segment", scan, "-o", disk / "out", "--model", model, "--quiet")
    assert_refused(done, disk / "out", "only be read")


@pytest.mark.parametrize("kilobytes", [4, 40, 250])
def test_a_disk_that_is_full(
    kidneyseg: Callable[..., Finished],
    results: Path,
    scan: Path,
    mount_tmpfs: Callable[[str], Path],
    kilobytes: int,
) -> None:
    """Full at the first file, in a mask, in a picture: nothing of the results stays."""
    disk = mount_tmpfs(f"size={kilobytes}k")
    labels = results / "segmentation.nii.gz"
    done = kidneyseg("measure", labels, "--image", scan, "-o", disk / "out", "--quiet")
    assert_refused(done, disk / "out", "full")
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_system_refuses_anywhere_is_one_line(
    kidneyseg: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, scan: Path, tmp_path: Path, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "somewhere"))

    monkeypatch.setattr("KidneySegLib.pipeline.segment_case", refuse)
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--quiet")
    assert_refused(done, tmp_path / "out", "somewhere")


def test_a_bug_keeps_its_traceback(
    kidneyseg: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, scan: Path, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("KidneySegLib.pipeline.segment_case", fail)
    with pytest.raises(ZeroDivisionError):
        kidneyseg("segment", scan, "-o", tmp_path / "out", "--quiet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "no-such-model"), ("no-such-model", "models import")),
        (("--device", "abacus"), ("abacus", "auto")),
    ],
)
def test_a_model_or_device_that_is_not_there(
    kidneyseg: Callable[..., Finished],
    scan: Path,
    model: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--quiet", "--model", model, *arguments)
    assert_refused(done, tmp_path / "out", *words)


def test_labels_on_another_grid(kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path) -> None:
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    labels.SetOrigin((0.0, 0.0, 0.0))
    moved = write(labels, tmp_path / "moved.nii.gz")
    done = kidneyseg("measure", moved, "--image", scan, "-o", tmp_path / "out", "--quiet")
    assert_refused(done, tmp_path / "out", "moved.nii.gz", "grid")
