"""How all cases of a batch are segmented, and what makes a finished case count as done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class BatchSettings:
    """Options of `pipeline.segment_case` that hold for every case.

    Attributes:
        model: name or folder of a bundle; None is the embedded one.
        device: as for ``kidneyseg segment``.
        precision: as for ``kidneyseg segment``.
        mirror: as for ``kidneyseg segment``.
        use_localiser: find the kidneys on a coarse grid first.
        find_lesions: show cysts and masses too.
        raw: also write the network's own label map.
        model_sha256: the bundle's digest; each worker compares its own copy with it.
        localiser_sha256: the localiser's, or None.
    """

    model: str | None = None
    device: str = "auto"
    precision: str = "auto"
    mirror: str = "auto"
    use_localiser: bool = True
    find_lesions: bool = False
    raw: bool = False
    model_sha256: str = ""
    localiser_sha256: str | None = None


@dataclass(frozen=True)
class CaseJob:
    """All that a worker needs for one case; it travels as JSON.

    Attributes:
        case_id: its name.
        source: path of the scan.
        series_uid: which DICOM series, or None.
        patient: fields of `measurement.Patient` that are known.
        results: path of the results folder.
        settings: how to segment.
        recheck: read the scan even if its files look unchanged.
        redo: segment even if there is a result that would do.
        alone: no other case may run in the same process, because one that ran with others died.
    """

    case_id: str
    source: str
    series_uid: str | None
    patient: Mapping[str, Any]
    results: str
    settings: BatchSettings
    recheck: bool = False
    redo: bool = False
    alone: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> CaseJob:
        known = {field.name for field in fields(CaseJob)}
        values = {key: value for key, value in content.items() if key in known}
        return CaseJob(**{**values, "settings": BatchSettings(**content["settings"])})

    @property
    def key(self) -> str:
        """Hash of all that changes the result, besides the scan: a result with the same key need not be made again.

        The device is not in it: results of devices agree. The program's version is not: `--redo` is for that.
        """
        settings = self.settings
        relevant = {
            "case_id": self.case_id,
            "series": self.series_uid,
            "patient": {name: value for name, value in sorted(self.patient.items()) if value is not None},
            "model": settings.model_sha256,
            "localiser": settings.localiser_sha256 if settings.use_localiser else None,
            "use_localiser": settings.use_localiser,
            "precision": settings.precision,
            "mirror": settings.mirror,
            "raw": settings.raw,
        }
        if settings.find_lesions:
            relevant["lesions"] = True
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
