"""Two-value number widgets: ctkRangeWidget, ctkDoubleRangeSlider and qMRML's."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models


class _TwoValues:
    """Shared body: minimum <= minimumValue <= maximumValue <= maximum, with CTK's signals."""

    _defaults = {
        "minimum": 0.0,
        "maximum": 99.0,
        "singleStep": 1.0,
        "minimumValue": 0.0,
        "maximumValue": 99.0,
        "tracking": True,
    }

    def _set_up(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        layout.addWidget(self._slider)

    def setValues(self, low, high):
        low, high = sorted(min(max(float(v), self.minimum), self.maximum) for v in (low, high))
        old_low, old_high = self.minimumValue, self.maximumValue
        self.__dict__.setdefault("_values", {}).update(minimumValue=low, maximumValue=high)
        if low != old_low:
            self.minimumValueChanged.emit(low)
        if high != old_high:
            self.maximumValueChanged.emit(high)
        if (low, high) != (old_low, old_high):
            self.valuesChanged.emit(low, high)

    def _set_minimumValue(self, value):
        self.setValues(value, max(float(value), self.maximumValue))

    def _set_maximumValue(self, value):
        self.setValues(min(float(value), self.minimumValue), value)

    def setMinimumValue(self, value):
        self.minimumValue = value

    def setMaximumValue(self, value):
        self.maximumValue = value

    def setRange(self, minimum, maximum):
        minimum, maximum = sorted((float(minimum), float(maximum)))
        changed = (minimum, maximum) != (self.minimum, self.maximum)
        self.__dict__.setdefault("_values", {}).update(minimum=minimum, maximum=maximum)
        if changed:
            self.rangeChanged.emit(minimum, maximum)
        self.setValues(self.minimumValue, self.maximumValue)

    def _set_minimum(self, value):
        self.setRange(value, max(float(value), self.maximum))

    def _set_maximum(self, value):
        self.setRange(min(float(value), self.minimum), value)


def _body(**extra):
    shared = {
        name: member for name, member in vars(_TwoValues).items() if name == "_set_up" or not name.startswith("__")
    }
    return type("Body", (), {**shared, **extra})


models("ctkDoubleRangeSlider")(_body())
models("ctkRangeWidget")(_body())


@models("qMRMLRangeWidget")
class MrmlRangeWidget:
    def setMRMLScene(self, scene):
        self._scene = scene

    def _get_mrmlScene(self):
        return self.__dict__.get("_scene")
