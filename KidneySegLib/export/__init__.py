"""Writing results: label maps, Slicer's segmentation file, table, picture, report and provenance."""

from __future__ import annotations

from KidneySegLib.export.results import write_results
from KidneySegLib.export.results_folder import check_results_folder

__all__ = ["check_results_folder", "write_results"]
