"""ctkPathLineEdit and ctkDirectoryButton."""

# ruff: noqa: RUF012  (_defaults is read once, when the stand-in is built)
from __future__ import annotations

import os

from PySide6 import QtCore, QtWidgets

from ..standin import models, qt

DIRECTORIES_FILTER = 1  # QDir::Dirs, as ctkPathLineEdit::Dirs
FILES_FILTER = 2
HISTORY_LENGTH = 5


@models("ctkPathLineEdit")
class PathLineEdit:
    _defaults = {"showBrowseButton": True, "showHistoryButton": True, "filters": 0x7}

    def _set_up(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit = QtWidgets.QComboBox(self)
        self._edit.setEditable(True)
        self._edit.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._edit.setInsertPolicy(QtWidgets.QComboBox.NoInsert)
        self._edit.setMinimumContentsLength(8)
        self._edit.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._browse_button = QtWidgets.QToolButton(self)
        self._browse_button.setText("…")
        layout.addWidget(self._edit, 1)
        layout.addWidget(self._browse_button)
        self._edit.editTextChanged.connect(lambda text: self.currentPathChanged.emit(text))
        self._browse_button.clicked.connect(lambda: self.browse())

    def _get_currentPath(self):
        return self._edit.currentText

    def _set_currentPath(self, path):
        self._edit.setEditText(path or "")

    def setCurrentPath(self, path):
        self.currentPath = path

    def _set_showBrowseButton(self, shown):
        self.__dict__.setdefault("_values", {})["showBrowseButton"] = shown
        self._browse_button.setVisible(shown)

    def comboBox(self):
        return self._edit

    def _history_key(self):
        return f"ctkPathLineEdit/{self.settingKey}"

    def addCurrentPathToHistory(self):
        path = self.currentPath
        if not self.settingKey or not path or not os.path.exists(path):
            return
        kept = [text for text in self._stored() if text != path]
        QtCore.QSettings().setValue(self._history_key(), [path, *kept][:HISTORY_LENGTH])
        self.retrieveHistory()
        self.currentPath = path

    def _stored(self):
        stored = QtCore.QSettings().value(self._history_key()) or []
        return [stored] if isinstance(stored, str) else list(stored)

    def _set_settingKey(self, key):
        self.__dict__.setdefault("_values", {})["settingKey"] = key
        self.retrieveHistory()

    def retrieveHistory(self):
        history = self._stored()
        blocked = self._edit.blockSignals(True)
        self._edit.clear()
        self._edit.addItems(history)
        self._edit.blockSignals(blocked)
        if history:
            self.currentPath = history[0]

    def browse(self):
        if self.filters & DIRECTORIES_FILTER and not self.filters & FILES_FILTER:
            path = qt.QFileDialog.getExistingDirectory(self, "Select a directory...", self.currentPath)
        else:
            path = qt.QFileDialog.getOpenFileName(self, "Select a file...", self.currentPath)[0]
        if path:
            self.currentPath = path


@models("ctkDirectoryButton")
class DirectoryButton:
    """The current folder is "." until another one is set; what is set becomes absolute."""

    def _set_up(self):
        self._folder = QtCore.QDir()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._button = QtWidgets.QPushButton(self)
        layout.addWidget(self._button)
        self._button.clicked.connect(lambda: self.browse())
        self._show()

    def _get_directory(self):
        return self._folder.path()

    def _set_directory(self, directory):
        folder = QtCore.QDir(directory)
        changed = folder != self._folder
        if changed:
            self._folder = QtCore.QDir(folder.absolutePath())
            self._show()
        self.directorySelected.emit(folder.absolutePath())
        if changed:
            self.directoryChanged.emit(folder.absolutePath())

    def _set_text(self, text):
        self.__dict__.setdefault("_values", {})["text"] = text
        self._show()

    def _show(self):
        self._button.setText(self.text or self._folder.absolutePath())

    def browse(self):
        directory = qt.QFileDialog.getExistingDirectory(self, self.caption or "Select directory", self.directory)
        if directory:
            self.directory = directory
