"""ctkCheckBox, ctkComboBox and ctkCheckableComboBox."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models


@models("ctkCheckBox")
class CheckBox:
    pass


@models("ctkComboBox")
class ComboBox:
    def _set_defaultText(self, text):
        self.__dict__.setdefault("_values", {})["defaultText"] = text
        self.setPlaceholderText(text)

    def _get_currentUserDataAsString(self):
        return str(self.currentData() if callable(self.currentData) else self.currentData)

    def _set_currentUserDataAsString(self, text):
        self.setCurrentIndex(next((i for i in range(self.count) if str(self.itemData(i)) == text), -1))


@models("ctkCheckableComboBox")
class CheckableComboBox:
    """Check states live in the items of the combo box's own model."""

    def _set_up(self):
        QtWidgets.QComboBox.model(self).rowsInserted.connect(self._make_checkable)
        QtWidgets.QComboBox.model(self).dataChanged.connect(lambda *_: self.checkedIndexesChanged.emit())

    def _make_checkable(self, _parent, first, last):
        model = QtWidgets.QComboBox.model(self)
        for row in range(first, last + 1):
            item = model.item(row)
            item.setFlags(item.flags() | QtCore.Qt.ItemIsUserCheckable)
            item.setData(QtCore.Qt.Unchecked, QtCore.Qt.CheckStateRole)

    def checkableModel(self):
        return QtWidgets.QComboBox.model(self)

    def checkState(self, index):
        return QtCore.Qt.CheckState(self.checkableModel().data(index, QtCore.Qt.CheckStateRole))

    def setCheckState(self, index, state):
        self.checkableModel().setData(index, QtCore.Qt.CheckState(int(state)), QtCore.Qt.CheckStateRole)

    def checkedIndexes(self):
        model = self.checkableModel()
        indexes = [model.index(row, 0) for row in range(model.rowCount())]
        return tuple(index for index in indexes if self.checkState(index) == QtCore.Qt.Checked)

    def allChecked(self):
        return len(self.checkedIndexes()) == self.checkableModel().rowCount()

    def noneChecked(self):
        return not self.checkedIndexes()
