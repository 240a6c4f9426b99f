"""ctkColorPickerButton and qMRMLColorPickerWidget."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtGui, QtWidgets

from ..standin import models, qt


@models("ctkColorPickerButton")
class ColorPickerButton:
    _defaults = {"displayColorName": True, "color": QtGui.QColor(0, 0, 0), "colorName": ""}

    def _set_up(self):
        self.setCheckable(True)
        self._show()
        self.clicked.connect(self.changeColor)

    def _set_color(self, colour):
        colour = QtGui.QColor.fromRgba(colour.rgba()) if isinstance(colour, QtGui.QColor) else QtGui.QColor(colour)
        if colour != self.color:
            self.__dict__.setdefault("_values", {})["color"] = colour
            self._show()
            self.colorChanged.emit(colour)
            self.colorNameChanged.emit(self._get_colorName())

    def setColor(self, colour):
        self.color = colour

    def _get_colorName(self):
        return self.__dict__.get("_values", {}).get("colorName") or self.color.name()

    def _set_displayColorName(self, shown):
        self.__dict__.setdefault("_values", {})["displayColorName"] = shown
        self._show()

    def _show(self):
        pixmap = QtGui.QPixmap(16, 16)
        pixmap.fill(self.color)
        QtWidgets.QPushButton.setIcon(self, QtGui.QIcon(pixmap))
        QtWidgets.QPushButton.setText(self, self._get_colorName() if self.displayColorName else "")

    def changeColor(self):
        chosen = qt.QColorDialog.getColor(self.color, self)
        if chosen.isValid():
            self.color = chosen
        self.setChecked(False)


@models("qMRMLColorPickerWidget")
class ColorPickerWidget:
    pass
