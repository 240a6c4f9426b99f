"""Hold a Slicer module's sources against Slicer's real API, without running them.

Looks at every ``slicer.X``, ``slicer.app.X``, ``slicer.util.X``, ``qt.X.Y``, ``ctk.X.Y``, ``self.ui.<widget>.X``
(and local ``ui``),
at members of widgets that are made in the file (``button = qt.QPushButton()``), and at the signatures in
``connect('...')``.
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pythonqt.signals import normalised
from .standin import build, exists, manifest, qt

PACKAGING_5_12 = {
    "load_requirements",
    "load_pyproject_dependencies",
    "pip_check",
    "pip_ensure",
    "pip_install",
    "pip_uninstall",
    "isPipInstallInProgress",
}
SLICER_MODULES = {
    "app",
    "modules",
    "moduleNames",
    "mrmlScene",
    "util",
    "packaging",
    "i18n",
    "parameterNodeWrapper",
    "ScriptedLoadableModule",
    "selfTests",
    "testing",
}
ONLY_OLD_QT = {"QRegExp", "QDesktopWidget", "QTextCodec", "QStringList"}
QT_ATTRIBUTES = {"name", "connect", "disconnect", "className", "delete", "children", "parent"}


@dataclass(frozen=True)
class Problem:
    """One use of a name that Slicer does not have."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def widgets_of(ui_file: Path) -> dict[str, str]:
    """Widget name -> class name of a .ui file."""
    return {w.get("name", ""): w.get("class", "") for w in ElementTree.parse(ui_file).getroot().iter("widget")}


def real_member(class_name: str, member: str) -> bool:
    """Whether the real class has a Python-visible `member`; Qt's own classes are asked themselves."""
    if class_name in manifest:
        return (
            manifest.has(class_name, member)
            or hasattr(getattr(qt, manifest.qt_base(class_name)), member)
            or member in QT_ATTRIBUTES
        )
    return hasattr(getattr(qt, class_name, None), member) or member in QT_ATTRIBUTES


def real_signal(class_name: str, signature: str) -> bool:
    wanted = normalised(signature)
    for entry in manifest.lineage(class_name):
        if any(wanted in signatures for signatures in entry.signals.values()):
            return True
    base = build(class_name) if exists(class_name) else getattr(qt, class_name)
    return base.staticMetaObject.indexOfSignal(wanted) >= 0


def _dotted(node: ast.AST) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


class _Checker(ast.NodeVisitor):
    def __init__(self, file: Path, ui_widgets: dict[str, str]) -> None:
        self.file, self.ui_widgets = file, ui_widgets
        self.problems: list[Problem] = []
        self.classes: dict[str, str] = {}  # "button" or "self.button" -> class of what it was made as

    def report(self, node: ast.AST, text: str) -> None:
        self.problems.append(Problem(self.file, getattr(node, "lineno", 0), text))

    def visit_Assign(self, node: ast.Assign) -> None:
        made = _dotted(node.value.func) if isinstance(node.value, ast.Call) else []
        for target in node.targets:
            name = ".".join(_dotted(target))
            if not name:
                continue
            if (
                len(made) == 2
                and made[0] in ("qt", "ctk", "slicer")
                and (exists(made[1]) or (made[0] == "qt" and hasattr(qt, made[1])))
            ):
                self.classes[name] = made[1]
            else:
                self.classes.pop(name, None)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        names = _dotted(node)
        if names:
            self.check(node, names)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        names = _dotted(node.func)
        signature = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if len(names) > 1 and names[-1] in ("connect", "disconnect") and isinstance(signature, str):
            class_name = self.class_of(names[:-1])
            if class_name and not real_signal(class_name, signature):
                self.report(node, f"{class_name} has no signal {signature}")
        self.generic_visit(node)

    def class_of(self, names: list[str]) -> str | None:
        if len(names) >= 2 and names[-2] == "ui":
            return self.ui_widgets.get(names[-1])
        return self.classes.get(".".join(names))

    def check(self, node: ast.AST, names: list[str]) -> None:
        root, member = names[0], names[1]
        if root == "qt":
            self.check_qt(node, names)
        elif root == "ctk" and not (member.startswith("ctk") and exists(member)):
            self.report(node, f"ctk has no {member}")
        elif root == "slicer":
            self.check_slicer(node, names)
        elif len(names) >= 3 and names[-3] == "ui" and names[-2] not in self.ui_widgets:
            self.report(node, f"no .ui file has a widget {names[-2]}")
        elif len(names) >= 2:
            class_name = self.class_of(names[:-1])
            if class_name and not real_member(class_name, names[-1]):
                self.report(node, f"{class_name} has no {names[-1]} that Python sees")

    def check_qt(self, node: ast.AST, names: list[str]) -> None:
        if names[1] in ONLY_OLD_QT or not hasattr(qt, names[1]):
            self.report(node, f"qt.{names[1]} does not exist in Qt 6")
        elif (
            len(names) > 2 and isinstance(getattr(qt, names[1]), type) and not hasattr(getattr(qt, names[1]), names[2])
        ):
            self.report(node, f"qt.{names[1]} has no {names[2]}")

    def check_slicer(self, node: ast.AST, names: list[str]) -> None:
        import slicer

        member = names[1]
        if member.startswith(("qMRML", "qSlicer")):
            known = exists(member)
        else:
            known = member in SLICER_MODULES or (member.startswith("vtk") and hasattr(slicer, member))
        if not known:
            self.report(node, f"slicer has no {member}")
        elif len(names) > 2:
            inner = names[2]
            if member == "app" and not real_member("qSlicerApplication", inner):
                self.report(node, f"slicer.app has no {inner} that Python sees")
            elif member == "util" and not hasattr(slicer.util, inner):
                self.report(node, f"slicer.util has no {inner}")
            elif member == "packaging" and inner not in PACKAGING_5_12:
                self.report(node, f"slicer.packaging of 5.12 has no {inner}")
            elif member.startswith("vtk") and not hasattr(getattr(slicer, member), inner):
                self.report(node, f"slicer.{member} has no {inner}")


def check_source(source: str, ui_widgets: dict[str, str] | None = None, file: Path = Path("<source>")) -> list[Problem]:
    checker = _Checker(file, ui_widgets or {})
    checker.visit(ast.parse(source))
    return checker.problems


def check_folder(folder: Path) -> list[Problem]:
    """All problems of the .py files under `folder`, with the widgets of all its .ui files."""
    widgets: dict[str, str] = {}
    for ui_file in sorted(folder.rglob("*.ui")):
        widgets.update(widgets_of(ui_file))
    problems: list[Any] = []
    for file in sorted(folder.rglob("*.py")):
        problems += check_source(file.read_text(encoding="utf-8"), widgets, file)
    return problems
