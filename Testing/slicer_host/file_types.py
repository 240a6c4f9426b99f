"""Which reader and writer Slicer takes for a file: the kinds of file that the host can load and save."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FileType:
    """`name` as in slicer.util (VolumeFile...); `extensions` longest first."""

    name: str
    extensions: tuple[str, ...]
    node_class: str
    storage_class: str


FILE_TYPES = (
    FileType(
        "SegmentationFile", (".seg.nrrd", ".seg.nhdr"), "vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode"
    ),
    FileType("MarkupsFile", (".mrk.json", ".fcsv"), "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsFiducialStorageNode"),
    FileType(
        "VolumeFile",
        (".nii.gz", ".nrrd", ".nhdr", ".nii", ".mha", ".mhd", ".mgz", ".mnc", ".hdr", ".tif", ".png", ".jpg", ".vtk"),
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLVolumeArchetypeStorageNode",
    ),
    FileType(
        "ColorTableFile", (".ctbl", ".term.json", ".cxml"), "vtkMRMLColorTableNode", "vtkMRMLColorTableStorageNode"
    ),
    FileType("TableFile", (".csv", ".tsv", ".schema.csv"), "vtkMRMLTableNode", "vtkMRMLTableStorageNode"),
    FileType("ModelFile", (".vtp", ".stl", ".ply", ".obj", ".vtk"), "vtkMRMLModelNode", "vtkMRMLModelStorageNode"),
    FileType("TransformFile", (".h5", ".tfm", ".txt"), "vtkMRMLTransformNode", "vtkMRMLTransformStorageNode"),
    FileType("TextFile", (".txt", ".xml", ".json"), "vtkMRMLTextNode", "vtkMRMLTextStorageNode"),
)
HEADER_BYTES = 65536
SCENE_EXTENSIONS = (".mrb", ".mrml")


def by_name(name: str) -> FileType | None:
    return next((kind for kind in FILE_TYPES if kind.name == name), None)


def _is_segmentation_nrrd(path: str) -> bool:
    """Whether a plain .nrrd file holds a segmentation: Slicer's reader looks for segments in the header."""
    if not path.lower().endswith((".nrrd", ".nhdr")) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        header = file.read(HEADER_BYTES).split(b"\n\n")[0]
    return b"Segment0_" in header or b"Segmentation_" in header


def by_path(path: str | os.PathLike) -> str:
    """Name of the file type that Slicer would propose first for `path`, "NoFile" if none."""
    path = str(path)
    lowered = path.lower()
    if _is_segmentation_nrrd(path):
        return "SegmentationFile"
    if lowered.endswith(SCENE_EXTENSIONS):
        return "SceneFile"
    return next((kind.name for kind in FILE_TYPES if lowered.endswith(kind.extensions)), "NoFile")


def by_node(node: Any) -> FileType | None:
    return next((kind for kind in FILE_TYPES if node.IsA(kind.node_class)), None)


def known_extension(path: str | os.PathLike) -> str:
    """The longest known extension that `path` ends with, "" if none."""
    path = str(path)
    found = [e for kind in FILE_TYPES for e in kind.extensions if path.lower().endswith(e)] + [
        e for e in SCENE_EXTENSIONS if path.lower().endswith(e)
    ]
    return max(found, key=len, default="")
