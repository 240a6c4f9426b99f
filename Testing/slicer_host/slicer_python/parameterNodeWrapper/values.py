"""How a value of each type is kept in a vtkMRMLScriptedModuleNode: the text and references that Slicer itself
would write.
"""

import enum
import pathlib
import types
import typing

import slicer

from .annotations import IsInstance, NotNone, Validator, splitAnnotations

PATHS = (
    pathlib.Path,
    pathlib.PosixPath,
    pathlib.WindowsPath,
    pathlib.PurePath,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
)


class Value:
    """One type's way into the node and back; `validators` run before a write."""

    def __init__(self, default, toText, fromText, validators):
        self.default, self._toText, self._fromText, self.validators = default, toText, fromText, list(validators)

    def validate(self, value):
        for validator in self.validators:
            validator.validate(value)

    def isIn(self, node, name):
        return bool(node.HasParameter(name))

    def write(self, node, name, value):
        self.validate(value)
        node.SetParameter(name, self._toText(value))

    def read(self, node, name):
        return self._fromText(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class NodeValue(Value):
    def __init__(self, classes, validators):
        super().__init__(None, None, None, [IsInstance(tuple(classes)), *validators])

    def write(self, node, name, value):
        self.validate(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class OptionalValue(Value):
    """``X | None``: X under ``name.0``, None under ``name.1``."""

    def __init__(self, inner, validators):
        super().__init__(None, None, None, validators)
        self._inner = inner

    def isIn(self, node, name):
        return self._inner.isIn(node, f"{name}.0") or bool(node.HasParameter(f"{name}.1"))

    def write(self, node, name, value):
        self.validate(value)
        with slicer.util.NodeModify(node):
            if value is None:
                self._inner.remove(node, f"{name}.0")
                node.SetParameter(f"{name}.1", "None")
            else:
                self._inner.write(node, f"{name}.0", value)
                node.UnsetParameter(f"{name}.1")

    def read(self, node, name):
        return self._inner.read(node, f"{name}.0") if self._inner.isIn(node, f"{name}.0") else None

    def remove(self, node, name):
        self._inner.remove(node, f"{name}.0")
        node.UnsetParameter(f"{name}.1")


class ListValue(Value):
    """A list as ``name.len`` and ``name.0``...; read gives a copy, assign a new list to change it."""

    def __init__(self, element, validators):
        super().__init__([], None, None, validators)
        self._element = element

    def isIn(self, node, name):
        return bool(node.HasParameter(f"{name}.len"))

    def write(self, node, name, value):
        self.validate(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            for index, element in enumerate(value):
                self._element.write(node, f"{name}.{index}", element)
            node.SetParameter(f"{name}.len", str(len(value)))

    def read(self, node, name):
        return [self._element.read(node, f"{name}.{index}") for index in range(int(node.GetParameter(f"{name}.len")))]

    def remove(self, node, name):
        if self.isIn(node, name):
            for index in range(int(node.GetParameter(f"{name}.len"))):
                self._element.remove(node, f"{name}.{index}")
            node.UnsetParameter(f"{name}.len")


def isNodeClass(kind):
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _union(kinds, validators):
    rest = [kind for kind in kinds if kind is not type(None)]
    if all(isNodeClass(splitAnnotations(kind)[0]) for kind in rest):
        return NodeValue([splitAnnotations(kind)[0] for kind in rest], validators)
    if len(rest) != 1 or len(rest) == len(kinds):
        raise NotImplementedError(f"the host's parameterNodeWrapper knows no union of {kinds}")
    return OptionalValue(createValue(rest[0]), validators)


def createValue(annotated):
    """The Value for a type as written in the class body."""
    kind, annotations = splitAnnotations(annotated)
    validators = [a for a in annotations if isinstance(a, Validator)]
    origin = typing.get_origin(kind)
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return _union(typing.get_args(kind), validators)
    if origin is list:
        return ListValue(createValue(typing.get_args(kind)[0]), validators)
    if isNodeClass(kind):
        return NodeValue([kind], validators)
    if kind is bool:
        return Value(
            False,
            lambda v: "True" if v else "False",
            lambda text: text == "True",
            [NotNone(), IsInstance(bool), *validators],
        )
    if kind in (int, float):
        return Value(0, str, kind, [NotNone(), IsInstance((int, float) if kind is float else int), *validators])
    if kind is str:
        return Value("", str, str, [NotNone(), IsInstance(str), *validators])
    if kind in PATHS:
        return Value(kind(), str, kind, [NotNone(), IsInstance(kind), *validators])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return Value(next(iter(kind)), lambda v: v.name, lambda text: kind[text], [IsInstance(kind), *validators])
    raise NotImplementedError(f"the host's parameterNodeWrapper knows no values of type {kind}")
