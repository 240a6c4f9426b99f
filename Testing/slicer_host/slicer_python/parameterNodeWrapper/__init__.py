"""slicer.parameterNodeWrapper: typed members over a vtkMRMLScriptedModuleNode, stored in the scene as Slicer stores
them.

Values: int, float, str, bool, pathlib paths, enums, MRML nodes, lists of these, ``X | None``. Not here: parameter
packs,
ranges, dicts, custom serializers and GUI creation.
"""

from .annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
    findFirstAnnotation,
    splitAnnotations,
    unannotatedType,
)
from .connectors import GuiConnector, createGuiConnector
from .values import Value, createValue
from .wrapper import SlicerParameterNamePropertyName, isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "GuiConnector",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "Value",
    "WithinRange",
    "createGuiConnector",
    "createValue",
    "findFirstAnnotation",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
    "splitAnnotations",
    "unannotatedType",
]
