"""``obj.connect('clicked(bool)', f)`` and ``obj.disconnect(...)`` as in PythonQt."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from ..errors import recorded

_qt_connect = QtCore.QObject.connect
_qt_disconnect = QtCore.QObject.disconnect
SIGNAL_TABLE = (
    "_signal_table"  # class attribute of stand-ins: normalised C++ signature -> (signal name, PySide overload)
)

_connections: dict[tuple[int, str], list[tuple[Callable[..., Any], Callable[..., Any]]]] = {}


def normalised(signature: str | bytes) -> str:
    """Qt's normal form of a signal or slot signature; the digit that the SIGNAL() macro puts in front is dropped."""
    text = signature.decode() if isinstance(signature, bytes) else str(signature)
    if text[:1].isdigit():
        text = text[1:]
    return bytes(QtCore.QMetaObject.normalizedSignature(text)).decode()


def positional_count(function: Callable[..., Any]) -> int | None:
    """How many arguments PythonQt passes to `function`; None means all (PythonQtSignalTarget::call)."""
    if isinstance(function, types.MethodType) and isinstance(function.__func__, types.FunctionType):
        code, bound = function.__func__.__code__, 1
    elif isinstance(function, types.FunctionType):
        code, bound = function.__code__, 0
    else:
        return None
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount - bound


def as_slot(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with surplus signal arguments cut off and exceptions recorded instead of lost in C++."""
    count = positional_count(function)

    def slot(*arguments: Any) -> Any:
        try:
            return function(*(arguments if count is None else arguments[:count]))
        except Exception as error:  # Slicer prints it and goes on
            recorded.record(error)

    return slot


def stand_in_signal(sender: QtCore.QObject, signature: str) -> Any:
    """Bound PySide6 signal of a stand-in for a real C++ signature such as
    ``currentNodeChanged(vtkMRMLNode*)``, or None.
    """
    for cls in type(sender).__mro__:
        table = cls.__dict__.get(SIGNAL_TABLE, {})
        if signature in table:
            name, overload = table[signature]
            signal = getattr(sender, name)
            return signal[overload] if overload else signal
    return None


def _target(receiver_or_function: Any, rest: tuple[Any, ...]) -> Callable[..., Any]:
    if rest and isinstance(receiver_or_function, QtCore.QObject):
        slot = rest[0]
        return slot if callable(slot) else getattr(receiver_or_function, normalised(slot).split("(")[0])
    return receiver_or_function


def connect(sender: QtCore.QObject, signal: Any, *rest: Any) -> bool:
    """``sender.connect('signal(type)', function)`` or ``(..., receiver, 'slot(type)')``, also receiver first.

    Raises AttributeError for a signal that the real class does not have, where PythonQt prints and returns False.
    """
    if isinstance(signal, QtCore.QObject):
        if len(rest) > 1 and callable(rest[1]):
            return connect(signal, rest[0], rest[1])  # the order that PySide6's own C++ uses
        return connect(signal, rest[0], sender, rest[1])
    signature = normalised(signal)
    function = _target(rest[0], rest[1:])
    slot = as_slot(function)
    bound = stand_in_signal(sender, signature)
    if bound is not None:
        bound.connect(slot)
    elif sender.metaObject().indexOfSignal(signature) < 0:
        raise AttributeError(f"QObject::connect(): signal '{signal}' does not exist on {sender.className()}")
    elif not _qt_connect(sender, QtCore.SIGNAL(signature), slot):
        return False
    _connections.setdefault(_key(sender, signature), []).append((function, slot))
    sender.destroyed.connect(_Forget(_key(sender, signature)))
    return True


class _Forget:
    """Drops the book-keeping of a destroyed sender, whose address may be used again."""

    def __init__(self, key: tuple[int, str]) -> None:
        self.key = key

    def __call__(self, *_: Any) -> None:
        _connections.pop(self.key, None)


def _key(sender: QtCore.QObject, signature: str) -> tuple[int, str]:
    return shiboken6.getCppPointer(sender)[0], signature


def disconnect(sender: QtCore.QObject, signal: Any, *rest: Any) -> bool:
    """Undo `connect`: of one function, or of all functions connected from Python to that signal."""
    signature = normalised(signal)
    function = _target(rest[0], rest[1:]) if rest else None
    made = _connections.get(_key(sender, signature), [])
    removed = False
    for entry in list(made):
        if function is None or entry[0] == function:
            bound = stand_in_signal(sender, signature)
            if bound is not None:
                bound.disconnect(entry[1])
            else:
                _qt_disconnect(sender, QtCore.SIGNAL(signature), entry[1])
            made.remove(entry)
            removed = True
    return removed
