"""ctk buttons: push, menu, expand, check-box-in-a-button."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models


@models("ctkPushButton")
class PushButton:
    pass


@models("ctkMenuButton")
class MenuButton:
    pass


@models("ctkExpandButton")
class ExpandButton:
    def _set_up(self):
        self.setCheckable(True)
        self.setArrowType(QtCore.Qt.DownArrow)


@models("ctkCheckablePushButton")
class CheckablePushButton:
    _defaults = {"checkState": 0}

    def _set_checkState(self, state):
        state = int(state)
        if state != self.checkState:
            self.__dict__.setdefault("_values", {})["checkState"] = state
            if self.checkBoxControlsButton:
                QtWidgets.QPushButton.setCheckable(self, state != 0)
            self.checkBoxToggled.emit(state == 2)
            self.checkStateChanged.emit(QtCore.Qt.CheckState(state))
