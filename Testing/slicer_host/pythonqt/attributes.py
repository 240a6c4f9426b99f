"""Attribute access on Qt objects as in PythonQt: children by name, dynamic properties, nothing new on C++ objects."""

from __future__ import annotations

import enum
import inspect
import types
from typing import Any

import shiboken6
from PySide6 import QtCore

from .properties import accepts, read_only, read_property, refuse, write_property
from .signals import connect, disconnect

STAND_IN_FOR = "_stand_in_for"  # class attribute: name of the C++ class that a Python class plays
STAND_IN_PROPERTIES = "_properties"  # class attribute: property name -> (getter, setter or None, C++ type)

_QObject = QtCore.QObject
_shiboken_setattr = next(c for c in _QObject.__mro__ if c.__name__ == "Object").__setattr__
_qt_getattribute = _QObject.__getattribute__


class UiLoading:
    """While QUiLoader works, PySide6 tries to store children as attributes of the root; PythonQt does not."""

    active = False


def class_name(obj: QtCore.QObject) -> str:
    for cls in type(obj).__mro__:
        if STAND_IN_FOR in cls.__dict__:
            return cls.__dict__[STAND_IN_FOR]
    return obj.metaObject().className()


def is_cpp(cls: type) -> bool:
    """Whether instances of `cls` stand for C++ objects (a Python subclass may grow attributes, a C++ object
    may not).
    """
    return STAND_IN_FOR in cls.__dict__ or cls.__module__.startswith("PySide6")


def dynamic_properties(obj: QtCore.QObject) -> set[str]:
    return {bytes(name).decode() for name in obj.dynamicPropertyNames()}


def _getattribute_over(original: Any) -> Any:
    def _getattribute(self: QtCore.QObject, name: str) -> Any:
        if name == "connect":  # Shiboken special-cases these two names on instances
            return types.MethodType(connect, self)
        if name == "disconnect":
            return types.MethodType(disconnect, self)
        return original(self, name)

    return _getattribute


_getattribute = _getattribute_over(_qt_getattribute)


def _getattr(self: QtCore.QObject, name: str) -> Any:
    """Reached when the normal look-up failed."""
    if not name.startswith("__") and shiboken6.isValid(self):
        if name in dynamic_properties(self):
            return read_property(self, name)
        for child in self.children():
            if read_property(child, "objectName") == name:
                return child
        value = getattr(type(self), name, None)  # enum values are attributes of instances too
        if isinstance(value, enum.Enum):
            return value
        if name.endswith("_") and hasattr(type(self), name[:-1]):
            return getattr(self, name[:-1])
    raise AttributeError(f"{class_name(self)} has no attribute named '{name}'")


def _setattr(self: QtCore.QObject, name: str, value: Any) -> None:
    cls = type(self)
    if isinstance(value, QtCore.SignalInstance) or name.startswith("_"):
        _shiboken_setattr(self, name, value)  # PySide6 caches bound signals; stand-ins keep their state
        return
    if UiLoading.active and inspect.getattr_static(cls, name, None) is None:
        return
    for base in cls.__mro__:
        entry = base.__dict__.get(STAND_IN_PROPERTIES, {}).get(name)
        if entry is not None:
            _, setter, type_name = entry
            if setter is None:
                raise read_only(self, name)
            if not accepts(type_name, value):
                raise refuse(self, name, type_name, value)
            setter(self, bool(value) if type_name == "bool" else value)
            return
    if is_cpp(cls):
        known = inspect.getattr_static(cls, name, None)
        if known is None or not hasattr(type(known), "__set__"):
            if name in dynamic_properties(self):
                write_property(self, name, value)
                return
            if known is not None:
                raise AttributeError(f"'{name}' can not be overwritten on {class_name(self)} object")
            raise AttributeError(
                f"'{name}' does not exist on {class_name(self)} and "
                "creating new attributes on C++ objects is not allowed"
            )
    _shiboken_setattr(self, name, value)


def _is_kind(obj: QtCore.QObject, kind: type | str) -> bool:
    if isinstance(kind, str):
        return obj.inherits(kind) or any(cls.__name__ == kind for cls in type(obj).__mro__)
    return isinstance(obj, kind)


def find_children(self: QtCore.QObject, kind: type | str = _QObject, name: Any = "", *_: Any) -> list[QtCore.QObject]:
    found = []
    for child in self.children():
        child_name = read_property(child, "objectName")
        named = not name or (name.match(child_name).hasMatch() if hasattr(name, "match") else child_name == name)
        if named and _is_kind(child, kind):
            found.append(child)
        found += find_children(child, kind, name)
    return found


def find_child(self: QtCore.QObject, kind: type | str = _QObject, name: Any = "", *_: Any) -> QtCore.QObject | None:
    found = find_children(self, kind, name)
    return found[0] if found else None


def patch_qobject() -> None:
    """Install these rules on QObject; `patch_type` does the rest for each class."""
    _QObject.className = class_name
    _QObject.connect, _QObject.disconnect = staticmethod(connect), staticmethod(disconnect)
    _QObject.__getattribute__ = _getattribute
    _QObject.__getattr__ = _getattr
    _QObject.findChild, _QObject.findChildren = find_child, find_children
    _QObject.name = property(
        lambda self: read_property(self, "objectName"), lambda self, value: write_property(self, "objectName", value)
    )
    _QObject.delete = lambda self: shiboken6.delete(self)


def patch_type(cls: type) -> None:
    """The rules for one PySide6 class: Shiboken types have their own tp_setattro, some their own tp_getattro."""
    cls.__setattr__ = _setattr
    if "__getattribute__" in cls.__dict__:
        cls.__getattribute__ = _getattribute_over(cls.__getattribute__)
