"""``kidneyseg demo``: the main job on a case that everybody has."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken, Progress

_TEXT = """\
Do the main job on a sample case made on the spot: a synthetic arterial-phase CT as a DICOM series (512 x 512,
0.684 mm pixels, 5 mm slices, as in Luo & Li's study) whose truth is known. Segments it with the model that
ships with the program and prints the measured volumes beside the true ones.

OUT becomes a results folder (volumes.csv, report.html, overlay.png ...); the sample case lies in OUT/sample-case.
"""
_EXAMPLES = """\
  kidneyseg demo
  kidneyseg demo -o somewhere-else --seed 3
"""
#: A case with two kidneys in their usual places.
DEFAULT_SEED = 2
SAMPLE_FOLDER = "sample-case"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "demo", "try it on a sample case with known truth", _TEXT, _EXAMPLES)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo"), metavar="OUT", help="results folder (default: demo)"
    )
    parser.add_argument("--seed", type=shared.seed, default=DEFAULT_SEED, metavar="S", help="another sample case")
    shared.add_engine(parser)
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import pipeline
    from KidneySegLib.cli.results import print_case, true_table
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.export import check_results_folder
    from KidneySegLib.phantom.output import write_case
    from KidneySegLib.phantom.protocol import LUO_LI_2025

    output: Path = options.output
    check_results_folder(output)
    with tempfile.TemporaryDirectory(prefix="kidneyseg-demo-") as scratch:
        sample = Path(scratch) / SAMPLE_FOLDER
        with shown_progress(token, quiet=options.quiet) as progress:
            # One bar for the sample case, whatever the stages of making it.
            making = Progress(lambda event: progress.report("case", event.fraction), token)
            write_case(sample, options.seed, "normal", LUO_LI_2025, dicom=True, phase="arterial", progress=making)
            case = pipeline.segment_case(
                sample / "dicom",
                output,
                model=options.model,
                device=options.device,
                precision=options.precision,
                progress=progress,
            )
        truth = true_table(sample / "labels.nii.gz")
        shutil.move(sample, output / SAMPLE_FOLDER)
    print_case(case, truth)
    print(f"The sample case (DICOM and truth) is in {output / SAMPLE_FOLDER}. Next, a scan of your own:")
    print(f"  {started_as()} segment DICOM_FOLDER -o results")


def started_as() -> str:
    """How the program is started from here: by its name, or where the shell would not find it as it was now."""
    called = Path(sys.argv[0])
    return str(called) if called.stem == "kidneyseg" and shutil.which("kidneyseg") is None else "kidneyseg"
