"""Options that several commands share, each written once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import DependencyError

if TYPE_CHECKING:
    from KidneySegLib.measurement import Patient

PRECISIONS = ("auto", "float32", "bfloat16")


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, text: str, examples: str
) -> argparse.ArgumentParser:
    """A subcommand with a one-line summary, a paragraph and examples."""
    return commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_output(parser: argparse.ArgumentParser, what: str) -> None:
    """``-o OUT``."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help=what)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """``--quiet``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def add_engine(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which network runs where. Returns the group, for options of one command only."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--model", metavar="M", help="name or folder of a model (default: the one that ships with the program)"
    )
    group.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto, cpu, cuda (a second card: cuda:1), mps, intel-gpu or intel-npu (default: auto)",
    )
    group.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="auto takes bfloat16 where the processor has it"
    )
    return group


def add_search(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """`add_engine`, and how a CT is searched."""
    group = add_engine(parser)
    group.add_argument("--no-localiser", action="store_true", help="search the whole scan with the fine network (slow)")
    group.add_argument("--lesions", action="store_true", help="show cysts and masses too")
    group.add_argument(
        "--mirror",
        choices=("auto", "on", "off"),
        default="auto",
        help="average mirrored passes (default: as the model says)",
    )
    return group


def add_patient(parser: argparse.ArgumentParser) -> None:
    """Patient data for eGFR and indexed volumes. What is given here goes before what DICOM says."""
    group = parser.add_argument_group("patient data, for eGFR and indexed volumes (else taken from DICOM)")
    group.add_argument("--creatinine", type=_number(0.01, 5000), metavar="X", help="serum creatinine")
    group.add_argument("--creatinine-unit", choices=("mg/dL", "umol/L"), help="its unit; needed with --creatinine")
    group.add_argument("--age", type=_number(0, 120), metavar="Y", help="years")
    group.add_argument("--sex", choices=("f", "m"))
    group.add_argument("--height-cm", type=_number(30, 260), metavar="H")
    group.add_argument("--weight-kg", type=_number(0.5, 500), metavar="W")


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"must be a number from {lowest:g} to {highest:g}, got {text!r}")
        return value

    return parse


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def patient_of(options: argparse.Namespace) -> Patient:
    """What the user said of the patient.

    Raises:
        InputError: creatinine without its unit.
    """
    from KidneySegLib.errors import InputError
    from KidneySegLib.measurement import Patient

    if options.creatinine is not None and options.creatinine_unit is None:
        raise InputError("--creatinine needs its unit: --creatinine-unit mg/dL or --creatinine-unit umol/L.")
    return Patient.of(
        None,
        sex=options.sex,
        age_years=options.age,
        height_cm=options.height_cm,
        weight_kg=options.weight_kg,
        creatinine=options.creatinine,
        creatinine_unit=options.creatinine_unit,
    )


def need_torch() -> None:
    """What trains cannot go on without PyTorch.

    Raises:
        DependencyError: if it is not installed.
    """
    if find_spec("torch") is None:
        raise DependencyError(
            "Training needs PyTorch, which is not installed. Install the training extra: "
            "pip install 'kidneyseg[train]' (in a checkout: make setup-dev)."
        )
