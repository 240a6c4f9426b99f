"""Qt properties as Python attributes, with the getters and setters of C++ kept, as PythonQt does.

PySide6's own ``true_property`` feature is not used: it takes ``setText`` and ``isEnabled`` away, which PythonQt keeps.
"""

from __future__ import annotations

import os
import types
from typing import Any

from PySide6 import QtCore

read_property = QtCore.QObject.property
write_property = QtCore.QObject.setProperty

NUMBER_TYPES = ("int", "double", "uint", "qlonglong", "float")


def accepts(type_name: str, value: Any) -> bool:
    """Whether PythonQt converts `value` to a property of the C++ type `type_name`."""
    if isinstance(value, os.PathLike):
        return False
    if type_name == "QString":
        return value is None or isinstance(value, (str, bytes))
    if type_name in NUMBER_TYPES:
        return isinstance(value, (int, float)) or hasattr(value, "value") or hasattr(value, "__float__")
    return True


def refuse(obj: QtCore.QObject, name: str, type_name: str, value: Any) -> AttributeError:
    return AttributeError(
        f"Property '{name}' of type '{type_name}' of {type(obj).__name__} does not accept "
        f"an object of type {type(value).__name__} ({value!r})"
    )


def read_only(obj: QtCore.QObject, name: str) -> AttributeError:
    return AttributeError(f"Property '{name}' of {type(obj).__name__} object is not writable")


class QtProperty:
    """Data descriptor for one Q_PROPERTY of a Qt class.

    On a class it gives the getter method of the same name back, so that PySide6's own code still finds it.
    List-valued properties are read as tuples, as in PythonQt.
    """

    __slots__ = ("getter", "name", "static", "type_name", "writable")

    def __init__(self, name: str, getter: Any, writable: bool, type_name: str) -> None:
        self.name, self.getter, self.writable, self.type_name = name, getter, writable, type_name
        self.static = isinstance(getter, types.BuiltinFunctionType)  # as QCoreApplication.applicationName

    def __get__(self, obj: QtCore.QObject | None, owner: type | None = None) -> Any:
        if obj is None:
            return self.getter if self.getter is not None else self
        value = self.getter(obj) if self.getter is not None and not self.static else read_property(obj, self.name)
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, obj: QtCore.QObject, value: Any) -> None:
        if not self.writable:
            raise read_only(obj, self.name)
        if self.type_name == "bool":
            value = bool(value)
        if not accepts(self.type_name, value) or not write_property(obj, self.name, value):
            raise refuse(obj, self.name, self.type_name, value)


def patch_class(cls: type) -> None:
    """Give the PySide6 class `cls` one QtProperty per Q_PROPERTY that it declares or hides by a getter method."""
    meta = cls.__dict__.get("staticMetaObject")
    if meta is None:
        return
    for index in range(meta.propertyCount()):
        declared = meta.property(index)
        name = declared.name()
        if cls.__name__ == "QTimer" and name == "singleShot":
            continue  # PythonQt users call the static function of this name
        inherited = index < meta.propertyOffset()
        if inherited and name not in cls.__dict__:
            continue
        getter = getattr(cls, name, None)
        if isinstance(cls.__dict__.get(name), QtProperty) or (getter is not None and not callable(getter)):
            continue
        setattr(cls, name, QtProperty(name, getter, declared.isWritable(), declared.typeName()))
