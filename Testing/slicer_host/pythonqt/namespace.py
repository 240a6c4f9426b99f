"""The one merged ``qt`` module of PythonQt, over PySide6."""

from __future__ import annotations

import enum
import os
import sys
import types
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtNetwork, QtPrintSupport, QtSvg, QtUiTools, QtWidgets, QtXml

from .attributes import patch_qobject, patch_type
from .properties import patch_class
from .signals import as_slot

KITS = (QtCore, QtGui, QtWidgets, QtUiTools, QtNetwork, QtSvg, QtXml, QtPrintSupport)


def _members(kit: types.ModuleType) -> dict[str, Any]:
    """Public members of a PySide6 module; its types are created when first asked for, so vars() would miss them."""
    return {name: getattr(kit, name) for name in dir(kit) if name.startswith("Q") and hasattr(kit, name)}


def _enums_as_numbers(cls: type) -> None:
    """PythonQt's enum values are numbers: int(qt.Qt.Checked), list[qt.X.Y] and x == 2 work."""
    for value in vars(cls).values():
        if isinstance(value, enum.EnumMeta) and not issubclass(value, int) and "__index__" not in value.__dict__:
            value.__int__ = value.__index__ = lambda member: member.value


def _single_shot(original: Any) -> Any:
    def singleShot(milliseconds: float, function: Any) -> None:
        original(int(milliseconds), as_slot(function))

    return staticmethod(singleShot)


def _colour_name(original: Any) -> Any:
    """QColor.name with the format as a number, as PythonQt takes enums."""
    return lambda self, form=QtGui.QColor.HexRgb: original(self, QtGui.QColor.NameFormat(int(form)))


def install() -> types.ModuleType:
    """Patch PySide6 once and put ``qt`` (and ``PythonQt.QtCore`` and its like) into ``sys.modules``."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    qt = types.ModuleType("qt", f"PythonQt's qt module, played by PySide6 on Qt {QtCore.qVersion()}")
    for kit in KITS:
        for name, member in _members(kit).items():
            setattr(qt, name, member)
            if isinstance(member, type) and not isinstance(member, enum.EnumMeta):
                _enums_as_numbers(member)
                if issubclass(member, QtCore.QObject):
                    patch_type(member)
                    patch_class(member)
    patch_qobject()
    QtWidgets.QDialog.exec_ = QtWidgets.QDialog.exec
    QtWidgets.QMenu.exec_ = QtWidgets.QMenu.exec
    QtCore.QTimer.singleShot = _single_shot(QtCore.QTimer.singleShot)
    QtGui.QColor.name = _colour_name(QtGui.QColor.name)
    qt.Signal, qt.Slot, qt.Property = QtCore.Signal, QtCore.Slot, QtCore.Property
    sys.modules["qt"] = qt
    python_qt = types.ModuleType("PythonQt")
    sys.modules["PythonQt"] = python_qt
    for kit in ("QtCore", "QtGui", "QtNetwork", "QtSvg", "QtUiTools"):
        setattr(python_qt, kit, qt)
        sys.modules[f"PythonQt.{kit}"] = qt
    return qt
