"""The ``@parameterNodeWrapper`` class decorator."""

import typing

import qt
import slicer
import vtk

from .annotations import Default, findFirstAnnotation, splitAnnotations
from .connectors import GuiConnector, createGuiConnector
from .values import createValue

SlicerParameterNamePropertyName = "SlicerParameterName"


def _property(name, value):
    def get(self):
        return value.read(self.parameterNode, name)

    def set_(self, new):
        with slicer.util.NodeModify(self.parameterNode):
            value.write(self.parameterNode, name, new)

    return property(get, set_)


class _Members:
    """Methods that every wrapped class gets."""

    def __init__(self, parameterNode, prefix=None):
        if prefix:
            raise NotImplementedError("the host's parameterNodeWrapper knows no prefix")
        self.parameterNode = parameterNode
        self._connected, self._nextTag, self._updating = {}, 0, False
        for name, (value, default, _) in self.allParameters.items():
            if not value.isIn(parameterNode, name):
                value.write(parameterNode, name, default.value)

    def _checked(self, name):
        if name not in self.allParameters:
            raise ValueError(
                f"Cannot find a param with the given name: {name}; found parameters {', '.join(self.allParameters)}"
            )
        return name

    def default(self, name):
        return self.allParameters[self._checked(name)][1]

    def getValue(self, name):
        return getattr(self, self._checked(name))

    def setValue(self, name, value):
        setattr(self, self._checked(name), value)

    def connectGui(self, gui):
        widgets = gui.findChildren(qt.QWidget) if getattr(gui, "isWidgetType", lambda: False)() else vars(gui).values()
        named = ((widget.property(SlicerParameterNamePropertyName), widget) for widget in widgets)
        return self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, mapping):
        for name in mapping:
            self._checked(name)
        connectors = {
            name: widget
            if isinstance(widget, GuiConnector)
            else createGuiConnector(widget, self.allParameters[name][2])
            for name, widget in mapping.items()
        }
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._writer(name, connector))
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._showAll())
        self._connected[tag] = (connectors, observer)
        return tag

    def _writer(self, name, connector):
        def write():
            if not self._updating:
                self.setValue(name, connector.read())

        return write

    def _showAll(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _ in self._connected.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def disconnectGui(self, tag):
        connectors, observer = self._connected.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.onChanged(None)
        if observer is not None:
            self.RemoveObserver(observer)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        return self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        return self.parameterNode.Modified()


def _wrap(cls):
    parameters = {}
    for name, declared in typing.get_type_hints(cls, include_extras=True).items():
        value = createValue(declared)
        written = (
            Default(getattr(cls, name))
            if hasattr(cls, name)
            else findFirstAnnotation(splitAnnotations(declared)[1], Default)
        )
        parameters[name] = (value, written or Default(value.default), declared)
        setattr(cls, name, _property(name, value))
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    cls.dataType = staticmethod(lambda name: parameters[name][2])
    cls.isCached = staticmethod(lambda name: False)
    for name, member in vars(_Members).items():
        if name == "__init__" or not name.startswith("__"):
            setattr(cls, name, member)
    return cls


def isParameterNodeWrapper(classOrObject):
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(classtype=None):
    return _wrap if classtype is None else _wrap(classtype)
