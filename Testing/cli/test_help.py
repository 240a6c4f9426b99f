"""The command line explains itself, at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from KidneySegLib import __version__
from Testing.cli.conftest import TOP, Finished

COMMANDS = (
    "demo", "segment", "measure", "evaluate", "consensus", "phantom", "ultrasound", "train", "models", "export",
    "dataset", "batch",
)  # fmt: skip
#: What takes long to import, or is not there for everybody.
HEAVY = {"numpy", "SimpleITK", "pydicom", "scipy", "openvino", "torch", "rich", "PIL", "highdicom", "safetensors"}


def test_help_names_every_command(kidneyseg: Callable[..., Finished]) -> None:
    done = kidneyseg("--help")
    assert done.status == 0
    assert all(f"\n    {command}" in done.out for command in COMMANDS)
    assert "not a medical device" in done.out


@pytest.mark.parametrize(
    "command", [*((name,) for name in COMMANDS), ("train", "embedded"), ("models", "import"), ("dataset", "add")]
)
def test_each_command_has_help_with_an_option_or_example(
    kidneyseg: Callable[..., Finished], command: tuple[str, ...]
) -> None:
    done = kidneyseg(*command, "--help")
    assert done.status == 0
    assert f"kidneyseg {' '.join(command)}" in done.out
    assert done.err == ""


def test_version(kidneyseg: Callable[..., Finished]) -> None:
    assert kidneyseg("--version").out == f"kidneyseg {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("segmnt",),
        ("segment", "scan.nii.gz"),
        ("segment", "scan.nii.gz", "-o", "out", "--precision", "float8"),
        ("segment", "scan.nii.gz", "-o", "out", "--age", "old"),
        ("phantom", "-o", "out", "--cases", "0"),
        ("models",),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(
    kidneyseg: Callable[..., Finished], arguments: tuple[str, ...]
) -> None:
    done = kidneyseg(*arguments)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "--help" in done.err


def test_help_imports_nothing_heavy() -> None:
    """What makes ``--help`` instant: seconds are not tested, modules are."""
    program = (
        "import json, sys\n"
        "from KidneySegLib.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))
