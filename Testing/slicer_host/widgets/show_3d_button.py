"""qMRMLSegmentationShow3DButton: makes the closed surfaces and shows them."""

from __future__ import annotations

from PySide6 import QtWidgets

from ..standin import build, models


@models("qMRMLSegmentationShow3DButton")
class Show3DButton:
    def _set_up(self):
        self._node = None
        self.setCheckable(True)
        self.setText("Show 3D")
        self.setEnabled(False)
        menu = QtWidgets.QMenu("Show 3D", self)
        self._smoothing = build("ctkSliderWidget")(menu)
        self._smoothing.minimum, self._smoothing.maximum, self._smoothing.singleStep, self._smoothing.value = (
            0.0,
            1.0,
            0.1,
            0.5,
        )
        self._smoothing.valueChanged.connect(self._smooth)
        action = QtWidgets.QWidgetAction(menu)
        action.setDefaultWidget(self._smoothing)
        menu.addAction(action)
        self.setMenu(menu)
        self.toggled.connect(self._toggled)

    def _smooth(self, factor):
        if self._node is not None:
            self._node.GetSegmentation().SetConversionParameter("Smoothing factor", str(factor))
            if self._node.GetSegmentation().ContainsRepresentation("Closed surface"):
                self._node.RemoveClosedSurfaceRepresentation()
                self._node.CreateClosedSurfaceRepresentation()

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
