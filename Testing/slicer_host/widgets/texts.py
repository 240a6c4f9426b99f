"""ctkSearchBox, ctkFittedTextBrowser and other text widgets."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from ..standin import models

TEXT_WIDTH_PX = 330


@models("ctkSearchBox")
class SearchBox:
    _defaults = {"showSearchIcon": True}

    def _set_up(self):
        self.setClearButtonEnabled(True)
        self.setPlaceholderText("Search...")


@models("ctkFittedTextBrowser")
class FittedTextBrowser:
    """Shows a teaser and, behind "Show details", the rest after ``<!-- more -->``."""

    _defaults = {"collapsed": True, "showDetailsText": "Show details...", "hideDetailsText": "Hide details."}

    def _set_up(self):
        self._html = ""
        self.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self.textChanged.connect(self._fit)

    def _fit(self):
        """As high as the text is at the usual panel width."""
        measured = QtGui.QTextDocument()
        measured.setHtml(QtWidgets.QTextBrowser.toHtml(self))
        measured.setTextWidth(TEXT_WIDTH_PX)
        self.setFixedHeight(int(measured.size().height()) + 8)

    def setCollapsibleText(self, text):
        self._html = text
        QtWidgets.QTextBrowser.setHtml(self, text)

    setCollapsibleHtml = setCollapsibleText

    def setCollapsiblePlainText(self, text):
        self._html = text
        QtWidgets.QTextBrowser.setPlainText(self, text)

    def collapsibleText(self):
        return self._html
