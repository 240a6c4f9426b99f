"""qMRMLSegmentationShow3DButton: makes the closed surfaces and shows them."""
from __future__ import annotations

from ..standin import models


@models("qMRMLSegmentationShow3DButton")
class Show3DButton:
    def _set_up(self):
        self._node = None
        self.setCheckable(True)
        self.setText("Show 3D")
        self.toggled.connect(self._toggled)

    def setSegmentationNode(self, node):
        self._node = node
        self.setEnabled(node is not None)
        blocked = self.blockSignals(True)
        self.setChecked(node is not None and node.GetSegmentation().ContainsRepresentation("Closed surface"))
        self.blockSignals(blocked)

    def segmentationNode(self):
        return self._node

    def _toggled(self, shown):
        if self._node is None:
            return
        if shown:
            self._node.CreateClosedSurfaceRepresentation()
            self._node.CreateDefaultDisplayNodes()
            self._node.GetDisplayNode().SetVisibility(True)
            self._node.GetDisplayNode().SetVisibility3D(True)
        else:
            self._node.RemoveClosedSurfaceRepresentation()
