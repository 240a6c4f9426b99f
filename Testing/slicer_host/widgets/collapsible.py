"""ctkCollapsibleButton and ctkCollapsibleGroupBox."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models

HEADER_PX = 24
UNLIMITED_PX = 16777215


@models("ctkCollapsibleButton")
class CollapsibleButton:
    _defaults = {"contentsMargins": 6}

    def _set_up(self):
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self.setContentsMargins(6, HEADER_PX + 2, 6, 6)
        self.toggled.connect(self._show_contents)

    def _get_collapsed(self):
        return not QtWidgets.QAbstractButton.isChecked(self)

    def _set_collapsed(self, collapsed):
        QtWidgets.QAbstractButton.setChecked(self, not collapsed)

    def _show_contents(self, shown):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)
        self.setMaximumHeight(UNLIMITED_PX if shown else HEADER_PX)
        self.updateGeometry()
        self.contentsCollapsed.emit(not shown)

    def childEvent(self, event):
        """Widgets added while collapsed stay hidden, as in CTK."""
        child = event.child()
        if event.added() and self.collapsed and isinstance(child, QtWidgets.QWidget):
            child.setVisible(False)

    def paintEvent(self, _event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, HEADER_PX)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (HEADER_PX - 10) // 2, 10, 10)
        painter.drawPrimitive(
            QtWidgets.QStyle.PE_IndicatorArrowRight if self.collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown, arrow
        )
        label = QtCore.QRect(22, 0, self.width - 26, HEADER_PX)
        painter.drawItemText(
            label,
            QtCore.Qt.AlignLeft | QtCore.Qt.AlignVCenter | QtCore.Qt.TextShowMnemonic,
            self.palette,
            self.enabled,
            self.text,
        )

    def hitButton(self, position):
        return position.y() < HEADER_PX

    def sizeHint(self):
        layout = self.layout()
        inner = layout.totalSizeHint() if layout is not None and not self.collapsed else QtCore.QSize(60, HEADER_PX)
        return QtCore.QSize(max(60, inner.width()), max(HEADER_PX, inner.height()))

    def minimumSizeHint(self):
        layout = self.layout()
        inner = layout.totalMinimumSize() if layout is not None and not self.collapsed else QtCore.QSize(60, HEADER_PX)
        return QtCore.QSize(max(60, inner.width()), max(HEADER_PX, inner.height()))


@models("ctkCollapsibleGroupBox")
class CollapsibleGroupBox:
    def _set_up(self):
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._show_contents)

    def _get_collapsed(self):
        return not QtWidgets.QGroupBox.isChecked(self)

    def _set_collapsed(self, collapsed):
        QtWidgets.QGroupBox.setChecked(self, not collapsed)

    def _show_contents(self, shown):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)
        self.setMaximumHeight(UNLIMITED_PX if shown else HEADER_PX)


@models("ctkExpandableWidget")
class ExpandableWidget:
    pass
