"""qMRMLVolumeThresholdWidget and qMRMLWindowLevelWidget: values only."""

from __future__ import annotations

from ..standin import models


@models("qMRMLVolumeThresholdWidget")
class VolumeThresholdWidget:
    def setThreshold(self, lower, upper):
        self.lowerThreshold, self.upperThreshold = float(lower), float(upper)
        self.thresholdValuesChanged.emit(float(lower), float(upper))
