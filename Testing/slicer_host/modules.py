"""slicer.modules: loadable modules with their real logic, and scripted modules loaded from a file."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import slicer
from PySide6 import QtWidgets

from .errors import recorded
from .standin import build, models


@models("qSlicerAbstractCoreModule")
class AbstractCoreModule:
    def logic(self):
        return self.__dict__.get("_logic")

    def mrmlScene(self):
        return slicer.mrmlScene

    def setMRMLScene(self, _scene):
        pass

    def _get_name(self):
        return self.__dict__.get("_name", "")

    def _get_path(self):
        return self.__dict__.get("_path", "")


@models("qSlicerAbstractModule")
class AbstractModule:
    def widgetRepresentation(self):
        return self.__dict__["_represent"]()

    def createNewWidgetRepresentation(self):
        return self.__dict__["_new_representation"]()


@models("qSlicerScriptedLoadableModuleWidget")
class ScriptedModuleWidget:
    def _set_up(self):
        self._python = None

    def self(self):
        return self._python

    def _get_moduleName(self):
        return self.__dict__.get("_name", "")

    def reload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


@models("qSlicerAbstractModuleWidget")
class AbstractModuleWidget:
    def enter(self):
        self._entered = True
        _call(self.self(), "enter")

    def exit(self):
        self._entered = False
        _call(self.self(), "exit")

    def _get_isEntered(self):
        return self.__dict__.get("_entered", False)

    def setEditedNode(self, node, role="", context=""):
        return bool(_call(self.self(), "setEditedNode", node, role, context))

    def nodeEditable(self, node):
        return float(_call(self.self(), "nodeEditable", node) or 0.0)


def _call(python_object, name, *arguments):
    """What Slicer does with an optional method of the module's Python widget: a failure is printed, not raised."""
    method = getattr(python_object, name, None)
    if method is None:
        return None
    try:
        return method(*arguments)
    except Exception as error:
        recorded.record(error)
        return None


@models("qSlicerModuleManager")
class ModuleManager:
    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self):
        return tuple(vars(slicer.moduleNames))

    def factoryManager(self):
        if "_factory" not in self.__dict__:
            self._factory = build("qSlicerModuleFactoryManager")(self)
        return self._factory


@models("qSlicerAbstractModuleFactoryManager")
class AbstractModuleFactoryManager:
    def registeredModuleNames(self):
        return tuple(n for n in vars(slicer.moduleNames) if not n.startswith("_"))

    instantiatedModuleNames = registeredModuleNames

    def isRegistered(self, name):
        return hasattr(slicer.moduleNames, name)

    isInstantiated = isRegistered

    def moduleInstance(self, name):
        return getattr(slicer.modules, name.lower(), None)


@models("qSlicerModuleFactoryManager")
class ModuleFactoryManager:
    def isLoaded(self, name):
        return hasattr(slicer.moduleNames, name)

    def loadedModuleNames(self):
        return self.registeredModuleNames()


def make_namespaces() -> None:
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(f"slicer.{name}")
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def register(name: str, module: object) -> None:
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.moduleNames, name, name)


def add_loadable(name: str, logic: object) -> None:
    """A C++ module: its real logic, no panel."""
    module = build("qSlicerSegmentationsModule" if name == "Segmentations" else "qSlicerLoadableModule")()
    module._name, module._logic = name, logic
    register(name, module)


def load_scripted(path: Path) -> object:
    """Import the scripted module file `path` as Slicer does and register it; gives the
    qSlicerScriptedLoadableModule back.
    """
    path = path.resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    python_module = sys.modules.get(name)
    if python_module is None or Path(getattr(python_module, "__file__", "") or "").resolve() != path:
        spec = importlib.util.spec_from_file_location(name, path)
        python_module = importlib.util.module_from_spec(spec)
        sys.modules[name] = python_module
        try:
            spec.loader.exec_module(python_module)
        except BaseException:
            del sys.modules[name]
            raise
    module = build("qSlicerScriptedLoadableModule")()
    module._name, module._path = name, str(path)
    register(name, module)
    setattr(slicer.modules, f"{name}Instance", getattr(python_module, name)(module))
    shown = {}

    def new_representation():
        widget = build("qSlicerScriptedLoadableModuleWidget")()
        widget._name = name
        QtWidgets.QVBoxLayout(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        widget._python = getattr(python_module, f"{name}Widget")(widget)
        widget._python.setup()
        setattr(slicer.modules, f"{name}Widget", widget._python)
        return widget

    def represent():
        if "widget" not in shown:
            shown["widget"] = new_representation()
        return shown["widget"]

    module._represent, module._new_representation, module._shown = represent, new_representation, shown
    return module


def unload(name: str) -> None:
    """What Slicer does to a module when it quits: tell everybody, which runs the panel's ``cleanup()``, then
    delete the panel.
    """
    module = getattr(slicer.modules, name.lower())
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
    widget = module._shown.pop("widget", None)
    if widget is not None:
        widget.deleteLater()
