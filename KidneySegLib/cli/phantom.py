"""``kidneyseg phantom``: synthetic CT with exact truth."""

from __future__ import annotations

import argparse

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

_TEXT = """\
Make synthetic abdominal CT in the arterial phase, with exact truth and no patient data. The same seed
makes the same case, always. Writes OUT/case_0001 and so on:

  ct.nii.gz        the scan in HU
  labels.nii.gz    the truth: the ids of segmentation.nii.gz
  truth.json       what was made: anatomy, contrast, scanner, volumes in mL
  dicom/           with --dicom: the scan as a DICOM series
"""
_EXAMPLES = """\
  kidneyseg phantom -o phantoms --cases 20
  kidneyseg phantom -o one --seed 7 --dicom
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "phantom", "make synthetic CT with known truth", _TEXT, _EXAMPLES)
    shared.add_output(parser, "folder for the cases")
    parser.add_argument("--cases", type=shared.count, default=1, metavar="N", help="how many (default: 1)")
    parser.add_argument(
        "--seed", type=shared.seed, default=1, metavar="S", help="seed of the first case, the next has S+1 (default: 1)"
    )
    parser.add_argument("--dicom", action="store_true", help="also write a DICOM series")
    parser.add_argument("--variant", metavar="V", help="kind of patient: normal, single, cysts ... (default: drawn)")
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.errors import InputError
    from KidneySegLib.phantom.output import write_cases
    from KidneySegLib.phantom.scene import VARIANTS

    if options.variant is not None and options.variant not in VARIANTS:
        raise InputError(f"--variant must be one of {', '.join(VARIANTS)}; got {options.variant}.")
    with shown_progress(token, quiet=options.quiet) as progress:
        folders = write_cases(
            options.output,
            options.cases,
            options.seed,
            options.dicom,
            variants=[options.variant] if options.variant else None,
            progress=progress,
        )
    print(f"Made {len(folders)} {'case' if len(folders) == 1 else 'cases'} in {options.output}")
