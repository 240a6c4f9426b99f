"""Phantom cases on disk: ``case_0001/{ct.nii.gz, labels.nii.gz, truth.json}`` and, on wish, ``dicom/``."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import OutputError
from KidneySegLib.files import plain_write_errors, write_json
from KidneySegLib.labels import Side
from KidneySegLib.phantom.dicom import write_series
from KidneySegLib.phantom.protocol import Protocol
from KidneySegLib.phantom.scanner import Acquisition, acquire
from KidneySegLib.phantom.subject import Subject, sample_subject
from KidneySegLib.phantom.truth import expected_flags
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from KidneySegLib.phantom.scene import Scene

#: Written into truth.json; a folder with such a file is ours and may be replaced.
FORMAT = "kidneyseg-phantom-1"
CT_NAME, LABELS_NAME, TRUTH_NAME, DICOM_NAME = "ct.nii.gz", "labels.nii.gz", "truth.json", "dicom"
#: Centre of a kidney below this (mm; the origin is the second lumbar vertebra) lies in the pelvis.
PELVIC_BELOW_MM = -105.0

#: Streams of random numbers of a case, so that none depends on how much another draws.
_PROTOCOL, _SUBJECT = 1, 2


def write_case(
    folder: Path | str,
    seed: int,
    variant: str | None = None,
    protocol: Protocol | None = None,
    dicom: bool = False,
    *,
    phase: str | None = None,
    robust: bool = False,
    variety: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make one case and write its folder, whole or not at all.

    Args:
        folder: of the case; its name is the case's id. One that holds a phantom already is replaced.
        seed: of everything; the same seed and arguments give the same files.
        variant: one of `scene.VARIANTS`, or None to draw one.
        protocol: how to scan, or None to draw one that suits the body.
        dicom: also write the CT as a DICOM series.
        phase: contrast phase, or None to draw one.
        robust: draw from odd protocols too (slices to 8 mm, pixels to 2.2 mm).
        variety: of tissue HU, 0 (physics only) to 1; None takes the scene's default.
        progress: stages ``scan`` and ``write``.

    Returns:
        What truth.json holds.

    Raises:
        OutputError: if the folder holds something else, or cannot be written.
    """
    from KidneySegLib.phantom.scene import sample_scene

    folder = Path(folder)
    _check_replaceable(folder)
    options: dict[str, Any] = {} if variety is None else {"variety": variety}
    scene = sample_scene(seed, variant=variant, phase=phase, **options)
    if protocol is None:
        protocol = Protocol.sample(_rng(seed, _PROTOCOL), scene.body_bounds_mm(), robust=robust)
    progress = progress or Progress()
    acquisition = acquire(scene, protocol, seed, progress=progress)
    subject = sample_subject(_rng(seed, _SUBJECT), scene.enhancement.patient)
    truth = describe(folder.name, seed, scene, acquisition, subject)
    progress.report("write", 0.0)
    _write(folder, acquisition, truth, scene if dicom else None, subject, seed)
    progress.report("write", 1.0)
    return truth


def write_cases(
    out: Path | str,
    cases: int,
    seed: int,
    dicom: bool = False,
    *,
    variants: Sequence[str] | None = None,
    phase: str | None = None,
    protocol: Protocol | None = None,
    robust: bool = False,
    variety: float | None = None,
    progress: Progress | None = None,
    done: Callable[[Path, dict[str, Any]], None] | None = None,
) -> tuple[Path, ...]:
    """Write ``out/case_0001`` and so on.

    Args:
        out: made if absent.
        cases: how many; case n uses the seed ``seed + n - 1``, so each can be made again alone by `write_case`.
        seed: of the first case.
        dicom, phase, protocol, robust, variety: as for `write_case`.
        variants: gone through in turn; None draws one for each case.
        progress: stage ``case`` besides those of `write_case`.
        done: told each folder and its truth as soon as it is there.

    Raises:
        OutputError: if a folder cannot be written; cases that are already there stay.
        ValueError: for a negative number of cases.
    """
    if cases < 0:
        raise ValueError(f"cases must not be negative, got {cases}")
    out = Path(out)
    progress = progress or Progress()
    folders = []
    for index in range(cases):
        folder = out / f"case_{index + 1:04d}"
        progress.report("case", index / cases, folder.name)
        truth = write_case(
            folder,
            seed + index,
            variants[index % len(variants)] if variants else None,
            protocol,
            dicom,
            phase=phase,
            robust=robust,
            variety=variety,
            progress=progress,
        )
        folders.append(folder)
        if done is not None:
            done(folder, truth)
    progress.report("case", 1.0)
    return tuple(folders)


def describe(case_id: str, seed: int, scene: Scene, acquisition: Acquisition, subject: Subject) -> dict[str, Any]:
    """All that is true of a case, as truth.json holds it. Lengths in mm, volumes in mL, coordinates LPS."""
    enhancement, protocol, grid = scene.enhancement, acquisition.protocol, acquisition.grid
    contrast = scene.hu["cortex"] - scene.hu["medulla"]
    low, high = grid.bounds_mm_xyz[2]
    seen = [kidney for kidney in scene.kidneys if low < kidney.centre_mm[2] < high]
    flags = expected_flags(
        acquisition.kidneys,
        phase=scene.phase,
        contrast_hu=contrast,
        slice_thickness_mm=protocol.slice_thickness_mm,
        pixel_mm=protocol.pixel_mm,
        clipped=protocol.clip_hu[1] < 2000,
        scene_flags=scene_flags([(kidney.side, kidney.centre_mm[2]) for kidney in seen]),
    )
    size = grid.shape_zyx
    injection = enhancement.injection
    truth = {
        "format": FORMAT,
        "case_id": case_id,
        "seed": seed,
        "variant": scene.variant,
        "variety": scene.variety,
        "ckd": scene.ckd,
        "phase": {
            "name": scene.phase,
            "seconds_after_injection": enhancement.seconds_after_injection,
            "seconds_after_trigger": enhancement.seconds_after_trigger,
            "kvp": enhancement.kvp,
            "injection": None if injection is None else asdict(injection),
            "cardiac_output_ml_s": enhancement.patient.cardiac_output_ml_s,
        },
        "hu": {
            name: scene.hu[name]
            for name in ("aorta", "cortex", "medulla", "collecting_system", "liver", "spleen", "muscle", "fat")
        },
        "corticomedullary_contrast_hu": contrast,
        "subject": asdict(subject),
        "protocol": asdict(protocol),
        "grid": {
            "size_xyz": [size[2], size[1], size[0]],
            "spacing_mm_xyz": list(grid.spacing_mm_zyx[::-1]),
            "origin_mm_xyz": list(grid.origin_mm_xyz),
        },
        "kidneys": [
            {
                "side": kidney.side,
                "parenchyma_ml": kidney.parenchyma_ml,
                "cortex_ml": kidney.cortex_ml,
                "medulla_ml": kidney.medulla_ml,
                "cyst_ml": kidney.cyst_ml,
                "mass_ml": kidney.mass_ml,
                "voxel_parenchyma_ml": kidney.voxel_parenchyma_ml,
                "voxel_cortex_ml": kidney.voxel_cortex_ml,
                "cut_by_scan": kidney.cut_by_scan,
            }
            for kidney in acquisition.kidneys
        ],
        "organs": [
            {
                "side": kidney.side.value,
                "centre_mm": list(kidney.centre_mm),
                "half_size_mm": list(kidney.half_size_mm),
                "in_scan": kidney in seen,
            }
            for kidney in scene.kidneys
        ],
        "lesions": [
            {
                "kind": lesion.kind,
                "kidney": lesion.kidney,
                "centre_mm": list(lesion.centre_mm),
                "half_size_mm": list(lesion.half_size_mm),
            }
            for lesion in scene.lesions
        ],
        "flags_expected": list(flags),
    }
    plain: dict[str, Any] = json.loads(json.dumps(truth, default=_plain))
    return plain


def scene_flags(kidneys: Sequence[tuple[Side, float]]) -> tuple[str, ...]:
    """Flags that follow from how many kidneys there are and where.

    Args:
        kidneys: side and height of the centre (mm from the second lumbar vertebra) of each kidney in the scan. Two
            without a side are the halves of a fused one.
    """
    flags = []
    unsided = sum(side is Side.UNSIDED for side, _ in kidneys)
    separate = len(kidneys) - (1 if unsided == 2 else 0)
    if unsided == 2:
        flags.append("fused_kidneys")
    elif separate == 1:
        flags.append("one_kidney")
    if separate > 2:
        flags.append("more_than_two_kidneys")
    if unsided != 2 and any(height < PELVIC_BELOW_MM for _, height in kidneys):
        flags.append("pelvic_kidney")
    return tuple(flags)


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, 0x0C7, stream]))


def _check_replaceable(folder: Path) -> None:
    """Raise OutputError unless the folder is absent, empty or a phantom of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; a folder is needed for the case. Choose another output.")
    if any(folder.iterdir()) and not _is_ours(folder):
        raise OutputError(f"{folder} is not empty and holds no phantom. Choose another output, or empty it.")


def _is_ours(folder: Path) -> bool:
    try:
        truth = json.loads((folder / TRUTH_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(truth, dict) and truth.get("format") == FORMAT


def _write(
    folder: Path,
    acquisition: Acquisition,
    truth: dict[str, Any],
    dicom_of: Scene | None,
    subject: Subject,
    seed: int,
) -> None:
    import SimpleITK as sitk

    with plain_write_errors(f"{folder.parent} cannot be written", "Choose another output."):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent))
    try:
        for name, array in ((CT_NAME, acquisition.hu), (LABELS_NAME, acquisition.labels)):
            sitk.WriteImage(acquisition.grid.to_sitk(array), str(unfinished / name), True)
        if dicom_of is not None:
            write_series(
                unfinished / DICOM_NAME,
                acquisition.hu,
                acquisition.grid,
                seed=seed,
                case_id=folder.name,
                protocol=acquisition.protocol,
                enhancement=dicom_of.enhancement,
                subject=subject,
            )
        write_json(unfinished / TRUTH_NAME, truth)
        unfinished.chmod(0o755)
        _swap_in(unfinished, folder)
    except (OSError, RuntimeError) as error:
        # SimpleITK reports a full disk or a lost folder as RuntimeError.
        raise OutputError(
            f"{folder} cannot be written ({_first_line(error)}). Free space or choose another."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _swap_in(unfinished: Path, folder: Path) -> None:
    """Put a finished folder in its place; an old one is set aside first, so the place never holds half of both."""
    _check_replaceable(folder)
    if not folder.exists():
        os.replace(unfinished, folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    try:
        os.replace(folder, aside / folder.name)
        try:
            os.replace(unfinished, folder)
        except OSError:
            os.replace(aside / folder.name, folder)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _plain(value: object) -> object:
    """numpy numbers as JSON's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"truth must hold plain values, got {type(value).__name__}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
