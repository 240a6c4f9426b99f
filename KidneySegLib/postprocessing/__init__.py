"""After the network: which voxels are kidney, which kidney is right and which is left."""

from __future__ import annotations

from KidneySegLib.postprocessing.assign import Kidneys, assign_kidneys, assign_sides
from KidneySegLib.postprocessing.case_flags import label_flags

__all__ = ["Kidneys", "assign_kidneys", "assign_sides", "label_flags"]
