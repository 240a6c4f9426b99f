"""Voxels on their way to the engine: written once for each content of a volume, memory-mapped by the engine."""

import os

import numpy as np

from KidneySegPanel.dicom_facts import dicomFacts
from KidneySegPanel.volume_grid import VolumeGrid


class VolumeSender:
    """Puts volumes and labels into the engine's private folder and describes them for its protocol."""

    def __init__(self, engine):
        self._engine = engine
        self._sent = None
        self._number = 0

    def send(self, volumeNode):
        """Make the engine able to read a volume.

        :return: description for a request, and the VolumeGrid.
        :raises OSError: if there is no room.
        """
        workspace = self._engine.prepareWorkspace()
        key = (str(workspace), volumeNode.GetID(), _contentTime(volumeNode))
        if self._sent and self._sent[0] == key and (workspace / self._sent[1]["array"]).is_file():
            return self._sent[1], self._sent[2]
        grid = VolumeGrid(volumeNode)
        facts = dicomFacts(volumeNode)
        previous = self._sent
        description = {
            "array": self._write(workspace, "volume", grid.voxels()),
            "slice_thickness_mm": facts.get("sliceThicknessMm") if not grid.upright else None,
            "acquisition": facts.get("acquisition") or {},
            "flags": ["resampled_irregular_slices"] if grid.upright else [],
            **grid.describe(),
        }
        if previous and previous[0][0] == str(workspace):
            (workspace / previous[1]["array"]).unlink(missing_ok=True)
        self._sent = (key, description, grid)
        return description, grid

    def sendLabels(self, labels, index, grid):
        """Make the engine able to read labels on a box of the grid that it sees."""
        workspace = self._engine.prepareWorkspace()
        geometry = grid.describe()
        origin = grid.ijkToLps @ [*index, 1]
        name = self._write(workspace, "edited", np.ascontiguousarray(labels, np.uint8))
        return {"array": name, **geometry, "origin_mm": [float(value) for value in origin[:3]]}

    def _write(self, workspace, stem, array):
        self._number += 1
        name = f"{stem}-{self._number}.npy"
        unfinished = workspace / (name + ".part")
        try:
            with open(unfinished, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
            os.replace(unfinished, workspace / name)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        return name


def _contentTime(volumeNode):
    transform = volumeNode.GetParentTransformNode()
    return (
        volumeNode.GetMTime(),
        volumeNode.GetImageData().GetMTime(),
        transform.GetTransformToWorldMTime() if transform else 0,
    )
