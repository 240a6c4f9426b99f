"""The ``slicer`` and ``ctk`` Python modules as a running Slicer has them."""

from __future__ import annotations

import importlib
import importlib.machinery
import re
import sys
import types
from pathlib import Path
from typing import Any

import slicer
import slicer_core

from .standin import build, exists

STAND_IN_PYTHON = Path(__file__).resolve().parent / "slicer_python"
PYTHON_LAYER = ("i18n", "packaging", "parameterNodeWrapper", "ScriptedLoadableModule")


class _LazyClasses(types.ModuleType):
    """A module whose classes are stand-ins made when first asked for."""

    prefixes: tuple[str, ...] = ("ctk",)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(self.prefixes) and exists(name):
            return build(name)
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")


class _Slicer(_LazyClasses):
    prefixes = ("qMRML", "qSlicer")


def hide_leaked_names() -> None:
    """slicer-core spreads slicer.util over ``slicer`` itself, which Slicer does not: ``slicer.getNode`` must fail."""
    util = importlib.import_module("slicer.util")
    for name in list(vars(slicer)):
        if (
            not name.startswith(("_", "vtk"))
            and name != "util"
            and (name in vars(util) or name in ("me", "module", "info", "item_name"))
        ):
            delattr(slicer, name)


class _QtKitFinder:
    """Finds Slicer's PythonQt kits, e.g. ``qSlicerSegmentationsModuleWidgetsPythonQt``: each gives all qMRML
    and qSlicer classes.
    """

    NAME = re.compile(r"q(Slicer|MRML)\w*PythonQt")

    @classmethod
    def find_spec(cls, name: str, _path: Any = None, _target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, cls) if cls.NAME.fullmatch(name) else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Slicer(spec.name)

    @staticmethod
    def exec_module(_module: types.ModuleType) -> None:
        pass


def install_ctk() -> None:
    sys.modules["ctk"] = _LazyClasses("ctk")
    slicer.__class__ = _Slicer
    sys.meta_path.append(_QtKitFinder)  # type: ignore[arg-type]


def install_kits() -> None:
    """Slicer's top-level VTK kits (``import vtkSegmentationCore``, ``vtkSlicer...Python``) under their names."""
    for file in Path(slicer_core.__file__).parent.iterdir():
        name = file.name.split(".")[0]
        if file.suffix not in (".so", ".pyd") or name.startswith("lib"):
            continue
        kit = importlib.import_module(f"slicer_core.{name}")
        sys.modules.setdefault(name, kit)
        sys.modules.setdefault(f"{name.removeprefix('vtk') if name == 'vtkSlicerBaseLogic' else name}Python", kit)


def install_python_layer(base_python: Path | None) -> None:
    """slicer.ScriptedLoadableModule and its like: the host's own, or those of a Slicer checkout's ``Base/Python``."""
    slicer.__path__.append(str(base_python / "slicer" if base_python is not None else STAND_IN_PYTHON))
    for name in PYTHON_LAYER:
        importlib.import_module(f"slicer.{name}")
