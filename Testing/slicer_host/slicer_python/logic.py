"""slicer.logic: classes of the base logic library."""

from slicer_core.vtkSlicerBaseLogic import *  # noqa: F403
