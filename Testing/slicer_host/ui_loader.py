"""qt.QUiLoader that makes ctk and qMRML widgets of a .ui file by class name and holds the file against the API
manifest.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Any

from PySide6 import QtCore, QtUiTools

from .errors import UiFileError
from .pythonqt.attributes import UiLoading
from .pythonqt.signals import normalised
from .standin import build, manifest, qt


@dataclass(frozen=True)
class Connection:
    """One <connection> of a .ui file."""

    sender: str
    signal: str
    receiver: str
    slot: str


def take_connections(root: ElementTree.Element) -> list[Connection]:
    """Take the connections out of the tree: PySide6's loader cannot make those with VTK types."""
    taken = []
    for section in root.findall("connections"):
        taken += [
            Connection(*(c.findtext(part) or "" for part in ("sender", "signal", "receiver", "slot")))
            for c in section.findall("connection")
        ]
        root.remove(section)
    return taken


def check_custom_classes(root: ElementTree.Element, path: str) -> None:
    for custom in root.iter("customwidget"):
        name = custom.findtext("class") or ""
        if name not in manifest and not hasattr(qt, name):
            raise UiFileError(f"{path}: no widget class {name} in Slicer or CTK; use one that the API manifest lists")
    for section in root.findall("customwidgets"):
        root.remove(section)


def take_enum_properties(root: ElementTree.Element, path: str) -> list[tuple[str, str, int]]:
    """Take properties with enums of stand-ins out of the tree, as (widget, property, value); refuse unknown
    properties.
    """
    taken = []
    for widget in root.iter("widget"):
        class_name = widget.get("class") or ""
        if class_name not in manifest:
            continue
        cls = build(class_name)
        for prop in list(widget.findall("property")):
            name = prop.get("name") or ""
            if prop.get("stdset") != "0" and cls.staticMetaObject.indexOfProperty(name) < 0:
                raise UiFileError(f"{path}: {class_name} '{widget.get('name')}' has no property {name}")
            value = prop[0]
            keys = (value.text or "").split("|")
            if value.tag in ("enum", "set") and any(key.split("::")[0] in manifest for key in keys):
                taken.append(
                    (widget.get("name") or "", name, sum(int(getattr(cls, key.split("::")[-1])) for key in keys))
                )
                widget.remove(prop)
    return taken


def has_slot(receiver: QtCore.QObject, signature: str) -> bool:
    for cls in type(receiver).__mro__:
        real = cls.__dict__.get("_stand_in_for")
        if real and signature in manifest[real].slot_signatures:
            return True
    return receiver.metaObject().indexOfMethod(signature) >= 0


class UiLoader(QtUiTools.QUiLoader):
    """Plays qt.QUiLoader. Raises UiFileError for a class, property, signal, slot or widget that does not exist."""

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        if class_name not in manifest:
            widget = super().createWidget(class_name, parent, name)
            if widget is None:
                raise UiFileError(f"no widget class {class_name}")
            return widget
        try:
            widget = build(class_name)(parent) if parent is not None else build(class_name)()
        except Exception as error:  # exceptions do not cross the loader's C++ frames
            self._failure = error
            return None
        widget.setObjectName(name)
        return widget

    def load(self, file: Any, parent: Any = None) -> Any:
        path = file.fileName() if hasattr(file, "fileName") else str(file)
        root = ElementTree.parse(path).getroot()
        connections = take_connections(root)
        check_custom_classes(root, path)
        enum_properties = take_enum_properties(root, path)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        self._failure: Exception | None = None
        UiLoading.active = True
        try:
            widget = super().load(buffer, parent) if parent is not None else super().load(buffer)
        finally:
            UiLoading.active = False
        if self._failure is not None:
            raise self._failure
        if widget is None:
            raise UiFileError(f"{path}: {self.errorString()}")

        def named(name: str) -> QtCore.QObject:
            found = widget if widget.objectName == name else widget.findChild(QtCore.QObject, name)
            if found is None:
                raise UiFileError(f"{path}: a connection names '{name}', which is no widget of this file")
            return found

        for name, prop, value in enum_properties:
            setattr(named(name), prop, value)
        for connection in connections:
            receiver = named(connection.receiver)
            if not has_slot(receiver, normalised(connection.slot)):
                raise UiFileError(
                    f"{path}: {receiver.className()} '{connection.receiver}' has no slot {connection.slot}"
                )
            try:
                named(connection.sender).connect(connection.signal, receiver, connection.slot)
            except AttributeError as error:
                raise UiFileError(f"{path}: {error}") from error
        return widget
