"""From a file to Hounsfield units: read a CT, check its grid, estimate its contrast phase.

``read.py`` is the door. DICOM goes ``entries`` (files, zips) -> ``dicom_headers`` -> ``dicom_series`` (which one) ->
``dicom_stack`` (order, gaps, tilt) -> ``dicom_pixels`` (HU) -> ``upright`` (regular grid); image files go through
``image_file``. ``hounsfield`` and ``geometry`` refuse what cannot be trusted, ``phase`` tells the contrast phase.
"""

from KidneySegLib.ct.geometry import check_geometry
from KidneySegLib.ct.phase import Phase, PhaseEstimate, estimate_phase
from KidneySegLib.ct.read import list_series, read_ct, scan_from_image
from KidneySegLib.ct.scan import CtScan, PatientData, SeriesInfo

__all__ = [
    "CtScan",
    "PatientData",
    "Phase",
    "PhaseEstimate",
    "SeriesInfo",
    "check_geometry",
    "estimate_phase",
    "list_series",
    "read_ct",
    "scan_from_image",
]
