"""ctkSearchBox, ctkFittedTextBrowser and other text widgets."""
from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from ..standin import models


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

    def setCollapsibleText(self, text):
        self._html = text
        QtWidgets.QTextBrowser.setHtml(self, text)

    setCollapsibleHtml = setCollapsibleText

    def setCollapsiblePlainText(self, text):
        self._html = text
        QtWidgets.QTextBrowser.setPlainText(self, text)

    def collapsibleText(self):
        return self._html

    def sizeHint(self):
        document = QtWidgets.QTextBrowser.document(self).clone()  # changing the shown one would ask for the hint again
        document.setTextWidth(max(100, self.viewport().width))
        return QtCore.QSize(100, int(document.size().height()) + 8)
