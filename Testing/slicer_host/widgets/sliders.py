"""One-value number widgets: ctkSliderWidget, ctkDoubleSlider, ctkDoubleSpinBox, ctkCoordinatesWidget and qMRML's."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

import math

from PySide6 import QtCore, QtWidgets

from ..standin import models

SLIDER_STEPS = 1000  # positions of the drawn slider; the value itself is kept in full precision


def _position(value, minimum, maximum):
    """Place of `value` on the drawn slider; ranges may be infinite."""
    share = (value - minimum) / (maximum - minimum) if maximum > minimum else 0.0
    return round(share * SLIDER_STEPS) if math.isfinite(share) else 0


def _keep(self, **values):
    self.__dict__.setdefault("_values", {}).update(values)


@models("ctkDoubleSlider")
class DoubleSlider:
    _defaults = {
        "minimum": 0.0,
        "maximum": 99.0,
        "singleStep": 1.0,
        "pageStep": 10.0,
        "tracking": True,
        "orientation": 1,
    }

    def _set_up(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._slider.setRange(0, SLIDER_STEPS)
        layout.addWidget(self._slider)
        self._slider.sliderMoved.connect(self._moved)

    def _moved(self, position):
        self.value = self.minimum + (self.maximum - self.minimum) * position / SLIDER_STEPS
        self.sliderMoved.emit(self.value)

    def _set_value(self, value):
        value = min(max(float(value), self.minimum), self.maximum)
        changed = value != self.value
        _keep(self, value=value)
        self._slider.setValue(_position(value, self.minimum, self.maximum))
        if changed:
            self.valueChanged.emit(value)

    def setValue(self, value):
        self.value = value

    def _limits(self, **limits):
        _keep(self, **limits)
        self.rangeChanged.emit(self.minimum, self.maximum)
        self.value = self.value

    def _set_minimum(self, value):
        self._limits(minimum=float(value), maximum=max(float(value), self.maximum))

    def _set_maximum(self, value):
        self._limits(maximum=float(value), minimum=min(float(value), self.minimum))


@models("ctkDoubleSpinBox")
class DoubleSpinBox:
    _defaults = {"minimum": 0.0, "maximum": 99.99, "singleStep": 1.0, "decimals": 2}

    def _set_up(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._changed)
        self._box.editingFinished.connect(lambda: self.editingFinished.emit())

    def _changed(self, value):
        self.valueChanged[float].emit(value)
        self.valueChanged[str].emit(self._box.text)

    def _get_value(self):
        return self._box.value

    def _set_value(self, value):
        self._box.setValue(float(value))

    def setValue(self, value):
        self.value = value

    setValueIfDifferent = setValueAlways = setValue

    def _set_minimum(self, value):
        _keep(self, minimum=float(value))
        self._box.setMinimum(float(value))

    def _set_maximum(self, value):
        _keep(self, maximum=float(value))
        self._box.setMaximum(float(value))

    def _set_singleStep(self, value):
        _keep(self, singleStep=float(value))
        self._box.setSingleStep(float(value))

    def _set_decimals(self, count):
        _keep(self, decimals=int(count))
        self._box.setDecimals(int(count))

    def _set_suffix(self, text):
        _keep(self, suffix=text)
        self._box.setSuffix(text)

    def _set_prefix(self, text):
        _keep(self, prefix=text)
        self._box.setPrefix(text)

    def _get_cleanText(self):
        return self._box.cleanText

    def stepUp(self):
        self._box.stepUp()

    def stepDown(self):
        self._box.stepDown()


@models("qMRMLSpinBox")
class MrmlSpinBox:
    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return self.__dict__.get("_scene")


@models("ctkSliderWidget")
class SliderWidget:
    _defaults = {
        "minimum": 0.0,
        "maximum": 99.0,
        "singleStep": 1.0,
        "pageStep": 10.0,
        "decimals": 2,
        "tracking": True,
        "spinBoxVisible": True,
    }

    def _set_up(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        self._slider.setRange(0, SLIDER_STEPS)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._box.setRange(self.minimum, self.maximum)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._slider.sliderMoved.connect(self._moved)
        self._box.valueChanged.connect(self._changed)

    def _moved(self, position):
        self.value = self.minimum + (self.maximum - self.minimum) * position / SLIDER_STEPS

    def _changed(self, value):
        self._slider.setValue(_position(value, self.minimum, self.maximum))
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _get_value(self):
        return self._box.value

    def _set_value(self, value):
        self._box.setValue(float(value))

    def setValue(self, value):
        self.value = value

    def _set_minimum(self, value):
        _keep(self, minimum=float(value), maximum=max(float(value), self.maximum))
        self._box.setMinimum(float(value))

    def _set_maximum(self, value):
        _keep(self, maximum=float(value), minimum=min(float(value), self.minimum))
        self._box.setMaximum(float(value))

    def _set_singleStep(self, value):
        _keep(self, singleStep=float(value))
        self._box.setSingleStep(float(value))

    def _set_decimals(self, count):
        _keep(self, decimals=int(count))
        self._box.setDecimals(int(count))
        self.decimalsChanged.emit(int(count))

    def _set_suffix(self, text):
        _keep(self, suffix=text)
        self._box.setSuffix(text)

    def _set_prefix(self, text):
        _keep(self, prefix=text)
        self._box.setPrefix(text)

    def _set_spinBoxVisible(self, visible):
        _keep(self, spinBoxVisible=visible)
        self._box.setVisible(visible)

    def reset(self):
        self.value = 0.0


@models("qMRMLSliderWidget")
class MrmlSliderWidget:
    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return self.__dict__.get("_scene")
