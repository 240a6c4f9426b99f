"""ctkMessageBox: a message box with "Don't show this message again"."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models


@models("ctkMessageBox")
class MessageBox:
    def _get_dontShowAgainVisible(self):
        return QtWidgets.QMessageBox.checkBox(self) is not None

    def _set_dontShowAgainVisible(self, visible):
        QtWidgets.QMessageBox.setCheckBox(
            self, QtWidgets.QCheckBox("Don't show this message again", self) if visible else None
        )

    def _get_dontShowAgain(self):
        box = QtWidgets.QMessageBox.checkBox(self)
        return box.checked if box is not None else False

    def setDontShowAgain(self, checked):
        box = QtWidgets.QMessageBox.checkBox(self)
        if box is not None:
            box.setChecked(checked)

    _set_dontShowAgain = setDontShowAgain

    def _set_dontShowAgainSettingsKey(self, key):
        self.__dict__.setdefault("_values", {})["dontShowAgainSettingsKey"] = key
        self._set_dontShowAgainVisible(bool(key))
        self.setDontShowAgain(QtCore.QSettings().value(key) is not None)

    def onFinished(self, _result):
        pass
