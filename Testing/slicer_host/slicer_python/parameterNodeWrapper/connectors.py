"""Which widget shows which type, and how: the pairs that Slicer's connectGui knows."""

import enum

from .annotations import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    findFirstAnnotation,
    splitAnnotations,
    unannotatedType,
)
from .values import PATHS, isNodeClass

INT32 = (-(2**31), 2**31 - 1)
NUMBER_WIDGETS = (
    "QSlider",
    "QSpinBox",
    "QDoubleSpinBox",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkSliderWidget",
    "qMRMLSliderWidget",
    "qMRMLSpinBox",
)


class GuiConnector:
    """One widget bound to one parameter."""

    def __init__(self, widget, signal, read, write):
        self._widget, self._signal, self.read, self.write = widget, signal, read, write
        self._slot = None

    def widget(self):
        return self._widget

    def onChanged(self, callback):
        if self._slot is not None:
            self._widget.disconnect(self._signal, self._slot)
        self._slot = (lambda: callback()) if callback is not None else None
        if self._slot is not None:
            self._widget.connect(self._signal, self._slot)


def _property(widget, signal, name, toPython=lambda v: v, toWidget=lambda v: v):
    return GuiConnector(
        widget, signal, lambda: toPython(getattr(widget, name)), lambda value: setattr(widget, name, toWidget(value))
    )


def _number(widget, kind, annotations):
    name = widget.className()
    within, low, high = (findFirstAnnotation(annotations, a) for a in (WithinRange, Minimum, Maximum))
    if within is not None:
        low, high = Minimum(within.minimum), Maximum(within.maximum)
    if name in ("QSlider", "ctkSliderWidget", "qMRMLSliderWidget") and (low is None or high is None):
        raise RuntimeError(f"Cannot have a connection to {name} where the {kind.__name__} type is unbounded.")
    whole = name in ("QSlider", "QSpinBox")
    decimals, step = findFirstAnnotation(annotations, Decimals), findFirstAnnotation(annotations, SingleStep)
    if not whole and name != "ctkDoubleSlider" and (kind is int or decimals is not None):
        widget.decimals = 0 if kind is int else decimals.value
    if step is not None:
        widget.singleStep = step.value
    unlimited = INT32 if whole else (float("-inf"), float("inf"))
    widget.minimum = low.minimum if low is not None else unlimited[0]
    widget.maximum = high.maximum if high is not None else unlimited[1]
    return _property(widget, "valueChanged(int)" if whole else "valueChanged(double)", "value", kind)


def _nodeClasses(kind):
    kinds = [unannotatedType(k) for k in getattr(kind, "__args__", (kind,)) if k is not type(None)]
    return kinds if kinds and all(isNodeClass(k) for k in kinds) else []


def _choices(widget, values, labels):
    widget.clear()
    for label in labels:
        widget.addItem(label)

    def write(value):
        if value not in values:
            raise ValueError(f"Unable to find value {value} in choices {values}")
        widget.currentIndex = values.index(value)

    return GuiConnector(widget, "currentIndexChanged(int)", lambda: values[widget.currentIndex], write)


def createGuiConnector(widget, datatype):
    """The connector of `widget` for the possibly annotated `datatype`. Raises RuntimeError where Slicer has none."""
    kind, annotations = splitAnnotations(datatype)
    name = widget.className()
    if kind is bool and name in ("QCheckBox", "ctkCheckBox"):
        return _property(widget, "toggled(bool)", "checked")
    if kind is bool and name in ("QPushButton", "ctkCheckablePushButton"):
        widget.checkable = True
        return _property(widget, "toggled(bool)", "checked")
    if kind in (int, float) and name in NUMBER_WIDGETS and not (kind is float and name in ("QSlider", "QSpinBox")):
        return _number(widget, kind, annotations)
    if name in ("QComboBox", "ctkComboBox"):
        choice = findFirstAnnotation(annotations, Choice)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return _choices(widget, list(kind), [kind.label(e) if hasattr(kind, "label") else e.name for e in kind])
        if kind in (int, float, str, bool):
            if choice is None:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            return _choices(widget, list(choice.choices), [str(c) for c in choice.choices])
    if kind is str and name == "QLineEdit":
        return _property(widget, "textChanged(QString)", "text")
    if kind is str and name == "QTextEdit":
        return _property(widget, "textChanged()", "plainText")
    if kind is str and name == "QLabel":
        return GuiConnector(
            widget, "objectNameChanged(QString)", lambda: widget.text, lambda value: setattr(widget, "text", value)
        )
    if kind in (*PATHS, str) and name == "ctkPathLineEdit":
        return _property(widget, "currentPathChanged(QString)", "currentPath", kind, str)
    if kind in (*PATHS, str) and name == "ctkDirectoryButton":
        return _property(widget, "directoryChanged(QString)", "directory", kind, str)
    if name == "qMRMLNodeComboBox" and _nodeClasses(kind):
        widget.nodeTypes = [nodeClass().GetClassName() for nodeClass in _nodeClasses(kind)]
        return GuiConnector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{name}'.")
