"""Label maps read back for measuring and for the data set: our own files, 3D Slicer's, DICOM SEG, and other schemes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.ct import CtScan


def read_label_map(labels: Path | sitk.Image, scheme: str, scan: CtScan) -> sitk.Image:
    """Labels (ids 1-15) on the scan's grid or a part of it, with sides.

    Args:
        labels: an image with ids 1-15, or a file.
        scheme: whose ids a file holds, one of `measurement.SCHEMES`.
        scan: the CT.

    Raises:
        InputError: unreadable, unknown ids, or another grid.
    """
    from KidneySegLib.export.dicom_seg_read import is_dicom_seg, read_dicom_seg
    from KidneySegLib.measurement import check_same_grid, read_labels
    from KidneySegLib.measurement.seg_nrrd import is_seg_nrrd, read_seg_nrrd
    from KidneySegLib.postprocessing import assign_sides

    if not isinstance(labels, Path):
        check_same_grid(labels, scan.image, "The label map")
        return labels
    path = labels.expanduser()
    if scheme == "kidneyseg" and (is_seg_nrrd(path) or is_dicom_seg(path)):
        label_map = read_seg_nrrd(path) if is_seg_nrrd(path) else read_dicom_seg(path)[0]
        check_same_grid(label_map, scan.image, path.name)
        return label_map
    label_map = read_labels(path, scheme, scan.image)
    return assign_sides(label_map, scan.image).labels if scheme in ("training", "kits", "abnormality") else label_map
