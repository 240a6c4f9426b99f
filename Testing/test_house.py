"""The rules of the house: who may import whom, read from the syntax tree."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
LIBRARY = TOP / "KidneySegLib"
MODULE = TOP / "KidneySeg"

#: The road, in the order in which data goes along it. A room knows the rooms before it, never those behind.
ROAD = ("ct", "models", "inference", "postprocessing", "measurement", "export", "pipeline")
#: Files at the top of the package that every room may use.
SHARED = {"errors", "files", "flags", "labels", "progress", "resources"}
#: Rooms that a single file may use besides.
EXCEPTIONS = {
    # Making a bundle builds its torch networks and writes the OpenVINO graphs with the engine's own runtime.
    "models/network_files.py": {"networks", "inference"},
    # Graphs are changed with the engine's own runtime before they are written.
    "models/graph.py": {"inference"},
    # The torch backend builds the bundle's network.
    "inference/torch_backend.py": {"networks"},
    # The same for the two networks of a two-stage bundle.
    "inference/two_stage_networks.py": {"networks"},
    # A component's inner part is where its HU are measured, here as in the table.
    "postprocessing/cyst_or_mass.py": {"measurement"},
    # Several readers' labels are exported as their consensus.
    "export/dataset/choice.py": {"evaluation"},
}


def imports_of(path: Path) -> set[str]:
    """Full dotted names of all that a file imports, inside functions and for type checkers too."""
    names: set[str] = set()
    package = path.relative_to(TOP).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def rooms_imported_by(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports_of(path))
    # "from KidneySegLib import __version__" names no room.
    return {part[1] for part in parts if part[0] == "KidneySegLib" and len(part) > 1 and not part[1].startswith("__")}


def tops_imported_by(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def offenders(files: list[Path], imported: Callable[[Path], set[str]], forbidden: set[str]) -> dict[str, set[str]]:
    """Files that import what they must not, each with what that is."""
    return {str(path.relative_to(TOP)): bad for path in files if (bad := imported(path) & forbidden)}


def test_the_library_never_imports_slicer_or_qt() -> None:
    files = python_files(LIBRARY)
    assert len(files) > 20
    forbidden = {"slicer", "qt", "ctk", "vtk", "PySide6", "PythonQt", "KidneySeg", "Testing"}
    assert not offenders(files, tops_imported_by, forbidden)


def test_the_slicer_module_never_imports_torch() -> None:
    assert not offenders(python_files(MODULE), tops_imported_by, {"torch", "monai", "nnunetv2"})


def test_nothing_imports_from_the_command_line() -> None:
    files = [path for path in python_files(LIBRARY) if room_of(path) not in {"cli", "__main__"}]
    assert not offenders(files, rooms_imported_by, {"cli"})


def test_the_road_does_without_monai_nnunet_and_matplotlib() -> None:
    files = [path for path in python_files(LIBRARY) if room_of(path) in ROAD]
    assert not offenders(files, tops_imported_by, {"monai", "nnunetv2", "matplotlib"})


def test_a_room_of_the_road_knows_only_rooms_before_it() -> None:
    wrong = {}
    for path in python_files(LIBRARY):
        room, name = room_of(path), path.relative_to(LIBRARY).as_posix()
        if room in ROAD:
            allowed = {*ROAD[: ROAD.index(room) + 1], *SHARED, *EXCEPTIONS.get(name, ())}
            if bad := rooms_imported_by(path) - allowed:
                wrong[name] = bad
    assert not wrong


def test_networks_import_torch_and_nothing_of_ours() -> None:
    allowed = {"torch", "KidneySegLib"} | sys.stdlib_module_names
    for path in python_files(LIBRARY / "networks"):
        assert rooms_imported_by(path) <= {"networks"}, path
        assert tops_imported_by(path) <= allowed, path


def test_the_rules_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The readers of the syntax tree see every way of importing."""
    monkeypatch.setattr(sys.modules[__name__], "TOP", tmp_path)
    file = tmp_path / "KidneySegLib" / "ct" / "reader.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import qt\n"
        "from ..export import overlay\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from KidneySegLib import pipeline\n"
    )
    assert {"qt", "KidneySegLib.export", "KidneySegLib.pipeline", "torch"} <= imports_of(file)
    assert rooms_imported_by(file) == {"export", "pipeline"}
