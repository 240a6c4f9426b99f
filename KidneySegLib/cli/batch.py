"""``kidneyseg batch``: a whole cohort, resumable, on this computer or a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken, Progress

_TEXT = """\
Segment and measure every case of a cohort:

  OUT/cases/CASE/        the results folder of each case, as `kidneyseg segment` writes it
  OUT/volumes.csv        all rows in one table, with status, error, input_sha256 and model_sha256 behind them
  OUT/failures/          why a case failed; it is a row of the table, too
  OUT/summary.html       distributions, flags and pictures, the gravest first

COHORT is a folder with a sub-folder for each case (its ct.nii.gz if present, else its only DICOM series or
image), or a CSV with the columns case_id and path, and, where known, series, sex, age, height_cm,
weight_kg, creatinine, creatinine_unit.

Stop it at any time and run the same command again: what is done with the same scan, model and options is
skipped, what failed is tried again. A failed case does not stop the others; the exit status is 0 unless
every case failed.
"""
_EXAMPLES = """\
  kidneyseg batch STUDIES -o results
  kidneyseg batch patients.csv -o results --device cuda           one process for each graphics card
  kidneyseg batch STUDIES -o results --scheduler tcp://head:8786  on a Dask cluster
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "batch", "segment and measure a whole cohort", _TEXT, _EXAMPLES)
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="folder with a sub-folder for each case, or a CSV")
    shared.add_output(parser, "folder of the batch: new, empty, or that of an earlier run")
    group = shared.add_search(parser)
    group.add_argument("--raw", action="store_true", help="also write raw_labels.nii.gz for each case")
    where = parser.add_argument_group("where it runs")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, such as tcp://host:8786")
    where.add_argument(
        "--jobs",
        type=shared.count,
        metavar="N",
        help="processes on this computer (default: one for each graphics card, else one for 8 cores and 8 GB)",
    )
    again = parser.add_argument_group("when it was run before")
    again.add_argument("--recheck", action="store_true", help="read every scan again, even if its files look untouched")
    again.add_argument("--redo", action="store_true", help="segment every case again")
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.batch_progress import shown_batch
    from KidneySegLib.cohort import BatchSettings, run_batch
    from KidneySegLib.errors import InputError, KidneySegError

    if options.scheduler is not None and options.jobs is not None:
        raise InputError("--jobs is for this computer; with --scheduler the cluster's own workers count. Leave it out.")
    settings = BatchSettings(
        model=options.model,
        device=options.device,
        precision=options.precision,
        mirror=options.mirror,
        use_localiser=not options.no_localiser,
        find_lesions=options.lesions,
        raw=options.raw,
    )
    with shown_batch(quiet=options.quiet) as listener:
        result = run_batch(
            options.cohort,
            options.output,
            settings,
            scheduler=options.scheduler,
            processes=options.jobs,
            recheck=options.recheck,
            redo=options.redo,
            listener=listener,
            progress=Progress(None, token),
        )
    state = result.state
    print(f"{state.total} cases: {state.made} segmented, {state.skipped} were done before, {state.failed} failed")
    shown = list(result.failures.items())[:10]
    for case_id, error in shown:
        print(f"failed: {case_id}: {error}")
    if len(result.failures) > len(shown):
        print(f"        and {len(result.failures) - len(shown)} more, see the table")
    print(f"Table:   {result.output / 'volumes.csv'}")
    print(f"Summary: {result.output / 'summary.html'}")
    if state.failed == state.total:
        raise KidneySegError(f"Every case failed. {result.output / 'volumes.csv'} says why.")
