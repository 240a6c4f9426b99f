"""Stand-ins for ctk, qMRML and qSlicer classes, built from the API manifest.

1. A stand-in has every property, signal, slot, invokable and enum of the real class, and nothing else (or its Qt
base's).
2. What no model gives a behaviour raises NotModelled when it is called; plain properties simply keep their value.
3. What the real class does not have raises AttributeError (see `pythonqt.attributes`).

A *model* (see `widgets/`) is a class body of behaviour for one real class: methods named as real slots or invokables,
``_get_X`` and ``_set_X`` for the property X, ``_set_up`` run after construction, ``_defaults`` for property values.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from . import pythonqt
from .errors import NotModelled
from .manifest import ApiClass, ApiProperty, Manifest, load
from .pythonqt.attributes import STAND_IN_FOR, STAND_IN_PROPERTIES
from .pythonqt.signals import SIGNAL_TABLE

qt = pythonqt.install()
from PySide6 import QtCore, QtWidgets  # noqa: E402

PYTHON_TYPES: dict[str, type] = {
    "bool": bool,
    "int": int,
    "uint": int,
    "qlonglong": int,
    "double": float,
    "float": float,
    "QString": str,
}
SKIPPED_MODEL_NAMES = {
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__firstlineno__",
    "__static_attributes__",
}

manifest: Manifest = load()
_models: dict[str, type] = {}
_built: dict[str, type] = {}


def models(real_name: str) -> Callable[[type], type]:
    """Class decorator: the decorated body is the behaviour of the real class `real_name`."""

    def register(body: type) -> type:
        _models[real_name] = body
        return body

    return register


def modelled() -> dict[str, type]:
    return dict(_models)


def exists(name: str) -> bool:
    return name in manifest


def _signal_type(cpp_type: str) -> Any:
    return PYTHON_TYPES.get(cpp_type, "QStringList" if cpp_type == "QStringList" else object)


def _argument_types(signature: str) -> list[str]:
    inside = signature[signature.index("(") + 1 : -1]
    return [text for text in inside.split(",") if text]


def _signals(api: ApiClass) -> dict[str, Any]:
    """Qt signals of the class, and the table from each real signature to the overload that plays it."""
    members: dict[str, Any] = {}
    table = {}
    for name, signatures in api.signals.items():
        overloads: list[tuple[Any, ...]] = []
        for signature in signatures:
            overload = tuple(_signal_type(cpp_type) for cpp_type in _argument_types(signature))
            if overload not in overloads:
                overloads.append(overload)
            table[signature] = (name, overload)
        members[name] = (
            QtCore.Signal(*overloads, name=name) if len(overloads) > 1 else QtCore.Signal(*overloads[0], name=name)
        )
        for signature in signatures:
            overload = table[signature][1]
            key = (overload[0] if len(overload) == 1 else overload) if len(overloads) > 1 else None
            table[signature] = (name, key)
    return {**members, SIGNAL_TABLE: table}


def _plain_accessors(declared: ApiProperty, default: Any) -> tuple[Callable, Callable]:
    """Getter and setter of a property that only keeps its value and tells its NOTIFY signal of a change."""

    def get(self: Any) -> Any:
        value = self.__dict__.get("_values", {}).get(declared.name, default)
        return tuple(value) if isinstance(value, list) else value

    def set_(self: Any, value: Any) -> None:
        changed = get(self) != value
        self.__dict__.setdefault("_values", {})[declared.name] = value
        if changed and declared.notify:
            signal = getattr(self, declared.notify)
            try:
                signal.emit(value)
            except TypeError:
                signal.emit()

    return get, set_


def _as_tuple(getter: Callable) -> Callable:
    def get(self: Any) -> Any:
        value = getter(self)
        return tuple(value) if isinstance(value, list) else value

    return get


def _properties(api: ApiClass, body: dict[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    accessors = {}
    for name, declared in api.properties.items():
        python_type = (
            int
            if declared.type in api.enums or declared.type in api.flags or "::" in declared.type
            else PYTHON_TYPES.get(declared.type, object)
        )
        empty = {bool: False, int: 0, float: 0.0, str: ""}.get(
            python_type, [] if declared.type == "QStringList" else None
        )
        default = body.get("_defaults", {}).get(name, empty)
        plain_get, plain_set = _plain_accessors(declared, default)
        getter = _as_tuple(body[f"_get_{name}"]) if f"_get_{name}" in body else plain_get
        setter = body.get(f"_set_{name}", plain_set) if declared.write else None
        accessors[name] = (getter, setter, declared.type)
        if name not in body:
            members[name] = QtCore.Property(
                "QStringList" if declared.type == "QStringList" else python_type, getter, setter
            )
    return {**members, STAND_IN_PROPERTIES: accessors}


def _not_modelled(full_name: str) -> Callable:
    def method(self: Any, *_: Any, **__: Any) -> Any:
        raise NotModelled(f"{full_name}() exists in Slicer; the host has no behaviour for it")

    return method


def _writer(property_name: str) -> Callable:
    return lambda self, value: setattr(self, property_name, value)


def _reader(property_name: str) -> Callable:
    return lambda self: getattr(self, property_name)


def _methods(api: ApiClass, base: type, taken: set[str]) -> dict[str, Any]:
    """Slots and invokables without a model: property accessors where they are that, else NotModelled."""
    members: dict[str, Any] = {}
    for name in api.methods:
        if name in taken:
            continue
        writes = next((p.name for p in api.properties.values() if p.write == name), None)
        reads = next((p.name for p in api.properties.values() if p.read == name and p.name != name), None)
        if writes:
            members[name] = _writer(writes)
        elif reads:
            members[name] = _reader(reads)
        elif not hasattr(base, name):
            members[name] = _not_modelled(f"{api.name}.{name}")
    return members


def _enums(api: ApiClass) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, keys in api.enums.items():
        known = {key: value for key, value in keys.items() if value is not None}
        members[name] = (
            enum.IntFlag(name, known) if name in api.flags.values() else enum.IntEnum(name, known) if known else int
        )
        members.update({key: value for key, value in keys.items() if value is not None})
    for flags, values in api.flags.items():
        members.setdefault(flags, members.get(values, int))
    return members


def _constructor(base: type, set_up: Callable | None) -> Callable:
    def __init__(self: Any, *arguments: Any) -> None:
        parent = next((a for a in arguments if isinstance(a, QtCore.QObject)), None)
        text = next((a for a in arguments if isinstance(a, str)), None)
        if parent is not None and (
            not issubclass(type(self), QtWidgets.QWidget) or isinstance(parent, QtWidgets.QWidget)
        ):
            base.__init__(self, parent)
        else:
            base.__init__(self)
        if set_up is not None:
            set_up(self)
        if text is not None and hasattr(self, "setText"):
            self.setText(text)

    return __init__


def _base_of(api: ApiClass) -> type:
    for name in api.bases:
        if name in manifest or hasattr(qt, name):
            return build(name)
    return getattr(qt, manifest.qt_base(api.name))


def build(name: str) -> type:
    """The stand-in class for the real class `name`, made once; Qt's own classes are given back as they are."""
    if name in _built:
        return _built[name]
    if hasattr(qt, name):
        return getattr(qt, name)
    api = manifest[name]
    base = _base_of(api)
    body = (
        {key: value for key, value in vars(_models.get(name, object)).items() if key not in SKIPPED_MODEL_NAMES}
        if name in _models
        else {}
    )
    own = {**_enums(api), **_signals(api), **body}
    own.update(_properties(api, body))
    own.update(_methods(api, base, set(own)))
    own[STAND_IN_FOR] = name
    own["__module__"] = "ctk" if name.startswith("ctk") else "slicer"
    own.setdefault("__init__", _constructor(base, body.get("_set_up")))
    _built[name] = type(base)(name, (base,), own)
    return _built[name]
