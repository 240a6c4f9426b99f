"""Pictures with outlines, from folders or from the Open Kidney data set as it comes.

Two forms are read. ``images/`` and ``masks/``: a mask is a picture of the same name (any suffix) and size, in which
what is not 0 is kidney; an empty mask says that there is none. Or pictures anywhere below the folder and a table of VIA
polygons, in which the regions ``Capsule`` are the kidney; a picture without one was not outlined and is left out.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from KidneySegLib.errors import InputError
from KidneySegLib.ultrasound.masks import read_mask
from KidneySegLib.ultrasound.reading import PICTURE_SUFFIXES
from KidneySegLib.ultrasound.via import CAPSULE, AnnotatedImage, is_via_csv, read_via_csv

IMAGES = "images"
MASKS = "masks"
#: Optional table in the data set's folder: columns ``filename`` and ``patient``.
PATIENTS = "patients.csv"
_SUFFIXES = (*PICTURE_SUFFIXES, ".dcm")
#: Names of the Open Kidney data set begin with the patient's number: 100_IM-0246-0030_anon.png.
_OPEN_KIDNEY = re.compile(r"(\d+)_IM-\d+-\d+.*")


@dataclass(frozen=True)
class OutlinedImage:
    """A picture and where its outline is.

    Attributes:
        image: the picture's file.
        patient: whose it is; pictures of one patient stay together in a split.
        mask: file of the mask, or None.
        annotation: polygons, or None.
    """

    image: Path
    patient: str
    mask: Path | None = None
    annotation: AnnotatedImage | None = None

    def kidney(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """The kidney (y, x).

        Raises:
            InputError: the mask cannot be read, or has another size than the picture.
        """
        if self.annotation is not None:
            return self.annotation.mask(CAPSULE, shape)
        assert self.mask is not None
        return read_mask(self.mask, shape)


@dataclass(frozen=True)
class OutlinedSet:
    """A data set.

    Attributes:
        images: by name.
        notes: what was left out, and how patients were told apart.
    """

    images: tuple[OutlinedImage, ...]
    notes: tuple[str, ...]


def find_outlined(folder: Path, annotations: Path | None = None) -> OutlinedSet:
    """All pictures of a data set that have an outline.

    Args:
        folder: the data set.
        annotations: a table of VIA polygons; None: ``masks/`` or, without one, the only such table in the folder.

    Raises:
        InputError: no data set there, or what it holds does not fit together.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give a folder with {IMAGES}/ and {MASKS}/, or with VIA polygons.")
    if annotations is None and (folder / MASKS).is_dir():
        images, notes = _with_masks(folder)
    else:
        images, notes = _with_polygons(folder, annotations or _only_table(folder))
    if not images:
        raise InputError(f"{folder} holds no picture with an outline. {' '.join(notes)}")
    patients, said = _patients(folder, [i.image.name for i in images])
    return OutlinedSet(
        tuple(
            OutlinedImage(i.image, patients[i.image.name], i.mask, i.annotation)
            for i in sorted(images, key=lambda i: i.image.name)
        ),
        (*notes, said),
    )


def _pictures(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            if path.name in found:
                raise InputError(f"{folder} holds two pictures {path.name}. Names must differ.")
            found[path.name] = path
    return found


def _with_masks(folder: Path) -> tuple[list[OutlinedImage], list[str]]:
    source = folder / IMAGES
    if not source.is_dir():
        raise InputError(f"{folder} holds {MASKS}/ but no {IMAGES}/. Put the pictures there.")
    masks = {path.stem: path for path in _pictures(folder / MASKS).values()}
    pictures = _pictures(source)
    images = [OutlinedImage(path, "", masks[path.stem]) for path in pictures.values() if path.stem in masks]
    missing = len(pictures) - len(images)
    return images, [f"{missing} pictures without a mask were left out."] if missing else []


def _only_table(folder: Path) -> Path:
    tables = [path for path in sorted(folder.rglob("*.csv")) if is_via_csv(path)]
    if len(tables) == 1:
        return tables[0]
    if tables:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{folder} holds {len(tables)} tables of polygons ({names}). Choose one with --annotations.")
    raise InputError(
        f"{folder} holds neither {MASKS}/ nor a table of VIA polygons. Give a folder with {IMAGES}/ and {MASKS}/, or "
        "the Open Kidney data set with its CSV."
    )


def _with_polygons(folder: Path, table: Path) -> tuple[list[OutlinedImage], list[str]]:
    annotated = read_via_csv(table)
    pictures = _pictures(folder)
    images, missing, undrawn = [], 0, 0
    for name, annotation in annotated.items():
        if not any(region.anatomy == CAPSULE for region in annotation.regions):
            undrawn += 1
        elif name not in pictures:
            missing += 1
        else:
            images.append(OutlinedImage(pictures[name], "", None, annotation))
    notes = [f"Outlines are from {table.name}."]
    if undrawn:
        notes.append(f"{undrawn} pictures without a region {CAPSULE} were left out.")
    if missing:
        notes.append(f"{missing} outlined pictures are not in the folder.")
    return images, notes


def _patients(folder: Path, names: list[str]) -> tuple[dict[str, str], str]:
    table = folder / PATIENTS
    if table.is_file():
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        known = {row.get("filename") or "": row.get("patient") or "" for row in rows}
        unknown = [name for name in names if not known.get(name)]
        if unknown:
            raise InputError(
                f"{table} names no patient for {len(unknown)} pictures, {unknown[0]} among them. It needs the columns "
                "filename and patient, and a row for each picture."
            )
        return {name: known[name] for name in names}, f"Patients are from {PATIENTS}."
    matches = {name: _OPEN_KIDNEY.fullmatch(name) for name in names}
    if all(matches.values()):
        return {n: m.group(1) for n, m in matches.items() if m}, "Patients are the numbers that names begin with."
    return {name: name for name in names}, (
        f"No {PATIENTS} was found: each picture counts as a patient of its own, so pictures of one patient may end up "
        "on both sides of the split."
    )
