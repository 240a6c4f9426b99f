"""A small case to write: two kidneys on an oblique, anisotropic grid."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from KidneySegLib.ct.scan import CtScan, PatientData
from KidneySegLib.export.overlay import Sections, paint_sections
from KidneySegLib.measurement import MeasurementTable, Patient, measure
from KidneySegLib.postprocessing import assign_kidneys
from Testing.postprocessing.patient import DIRECTIONS, Array, result_of
from Testing.postprocessing.patient import Patient as Phantom


@dataclass(frozen=True)
class Case:
    """Everything that is written."""

    scan: CtScan
    labels: sitk.Image
    sections: Future[Sections]
    table: MeasurementTable

    def arguments(self, **changed: Any) -> dict[str, Any]:
        """Arguments of `write_results`."""
        return {
            "case_id": "case_0001",
            "scan": self.scan,
            "labels": self.labels,
            "sections": self.sections,
            "table": self.table,
            "phase": None,
            "provenance": {
                "model": {"name": "some-model", "sha256": "ab" * 32},
                "seconds": {"read": 0.5, "network": 2.0},
            },
            **changed,
        }


def make_case(direction: Array, spacing: tuple[float, float, float] = (4, 4, 6), **scan: Any) -> Case:
    """A case on a grid; labels are a part of it."""
    image, training = Phantom().scan(direction=direction, spacing=spacing, **scan)
    kidneys = assign_kidneys(result_of(training), image)
    table = measure(
        kidneys.labels, image, case_id="case_0001", patient=Patient("f", 50, 165, 60, 0.9), model="some-model"
    )
    patient = PatientData("f", 50.0, 165.0, 60.0)
    made = CtScan(image, Path("/data/DOE^JANE/ct.nii.gz"), "1.2.3", "cd" * 32, 6.0, (), patient, {"KVP": "120"})
    part = sitk.RegionOfInterest(kidneys.labels, [n - 9 for n in image.GetSize()], [5, 5, 5])
    sections: Future[Sections] = Future()
    sections.set_result(paint_sections(part, image))
    return Case(made, part, sections, table)


@pytest.fixture(scope="session")
def case() -> Case:
    return make_case(DIRECTIONS["oblique"])
