"""From what a person gives (a results folder or a label map, and the CT) to what is added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.ct import CtScan

_MODEL_KEYS = ("name", "version", "sha256")
_UNCERTAIN_COLUMNS = ("parenchyma_plus_minus_ml", "cortex_plus_minus_ml", "medulla_plus_minus_ml")


@dataclass(frozen=True)
class LabelSource:
    """Labels, and what a results folder says of them.

    Attributes:
        labels: ids 1-15 on the scan's grid or a part of it.
        is_automatic: whether they are a model's, uncorrected; None where nothing says so.
        model: name, version and sha256.
        flags: of the case.
        uncertainty: columns of ``volumes.csv`` of both kidneys.
        reader: who corrected them, if provenance says so.
        input_sha256: hash of the scan that they were made on; empty if not known.
    """

    labels: sitk.Image
    is_automatic: bool | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    uncertainty: Mapping[str, float | str] = field(default_factory=dict)
    reader: str = ""
    input_sha256: str = ""


def read_source(path: Path, scan: CtScan, scheme: str = "kidneyseg") -> LabelSource:
    """Labels of a results folder, or of a label map.

    Args:
        path: results folder, ``.seg.nrrd`` or image file.
        scan: the CT that they belong to.
        scheme: whose ids a file holds, one of `measurement.SCHEMES`.

    Raises:
        InputError: no such thing, another grid, or a results folder of another scan.
    """
    from KidneySegLib.export.read_back import read_label_map
    from KidneySegLib.export.results import SEGMENTATION
    from KidneySegLib.export.results_folder import PROVENANCE

    path = path.expanduser()
    if not path.is_dir():
        return LabelSource(read_label_map(path, scheme, scan))
    if not (path / PROVENANCE).is_file():
        raise InputError(
            f"{path} holds no results of KidneySeg (no {PROVENANCE}). Give a results folder or a label map."
        )
    facts = read_provenance(path)
    sha256 = str((facts.get("input") or {}).get("sha256") or "")
    if sha256 and sha256 != scan.sha256:
        raise InputError(f"The results in {path} were made on another scan than the one given. Give their own CT.")
    return LabelSource(
        labels=read_label_map(path / SEGMENTATION, "kidneyseg", scan),
        is_automatic=facts.get("source") == "automatic",
        model=model_of(facts),
        flags=tuple(facts.get("flags") or ()),
        uncertainty=_uncertainty(path),
        reader=str((facts.get("review") or {}).get("reader") or ""),
        input_sha256=sha256,
    )


def read_provenance(folder: Path) -> dict[str, Any]:
    """What a results folder says of itself.

    Raises:
        InputError: it is damaged.
    """
    from KidneySegLib.export.results_folder import PROVENANCE

    try:
        facts = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / PROVENANCE} could not be read ({error}). Segment the scan again.") from error
    if not isinstance(facts, dict):
        raise InputError(f"{folder / PROVENANCE} is not what KidneySeg wrote. Segment the scan again.")
    return facts


def model_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Name, version and sha256 of the model in provenance, as far as they are there."""
    model = facts.get("model") or {}
    return {key: str(model[key]) for key in _MODEL_KEYS if model.get(key)}


def _uncertainty(folder: Path) -> dict[str, float | str]:
    from KidneySegLib.export.results import VOLUMES
    from KidneySegLib.measurement.table import read_csv

    row = read_csv(folder / VOLUMES).row("both") if (folder / VOLUMES).is_file() else None
    if row is None:
        return {}
    found: dict[str, float | str] = {
        name: value for name in _UNCERTAIN_COLUMNS if (value := getattr(row, name)) is not None
    }
    if row.traffic_light:
        found["traffic_light"] = row.traffic_light
    return found


def subject_of(scan: CtScan) -> str | None:
    """PatientID of the DICOM series that was read, for a keyed hash only; None for other files."""
    if scan.series_uid is None:
        return None
    from KidneySegLib.ct.source_series import read_source_series

    header = read_source_series(scan.source, scan.series_uid).headers[0]
    return str(header.get("PatientID", "") or "").strip() or None
