"""``kidneyseg consensus``: several readers' masks to one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

_TEXT = """\
Combine the masks that several readers drew on the same scans into one, with a table of how far the readers agree
and a map of where they do not, for the reader who decides. Readers are one file each, or one folder each with
cases of the same names.

  intersection  what every reader marks (Luo & Li's way; shrinks thin cortex when readers differ)
  majority      what more than half mark; where exactly half do (a tie), not, unless --ties include
  staple        STAPLE, from a probability of 0.5; estimates each reader's sensitivity and specificity

Parenchyma, cysts and masses are combined first, then the cortex inside the parenchyma; the rest is medulla. Writes
OUT/CASE/labels.nii.gz, OUT/CASE/disagreement.nii.gz (how many readers differ), pairs.csv, readers.csv, slices.csv
(where to look first) and consensus.json. `kidneyseg evaluate --reference OUT` takes it as it is.
"""
_EXAMPLES = """\
  kidneyseg consensus reader1 reader2 reader3 reader4 -o reference
  kidneyseg consensus a.nii.gz b.nii.gz c.nii.gz --method staple -o reference
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "consensus", "several readers' masks to one", _TEXT, _EXAMPLES)
    parser.add_argument("readers", type=Path, nargs="+", metavar="READER", help="label map, or folder of cases")
    shared.add_output(parser, "folder for the consensus; an older consensus is replaced as a whole")
    parser.add_argument(
        "--method",
        choices=("intersection", "majority", "staple"),
        default="intersection",
        help="(default: intersection)",
    )
    parser.add_argument(
        "--ties", choices=("exclude", "include"), default="exclude", help="with majority (default: exclude)"
    )
    parser.add_argument(
        "--labels",
        choices=("kidneyseg", "training", "sides", "kits", "abnormality"),
        default="kidneyseg",
        metavar="SCHEME",
        help="whose ids the masks hold, as in evaluate --reference-labels (default: kidneyseg)",
    )
    parser.add_argument("--no-surfaces", action="store_true", help="leave out HD95 and ASSD of the readers: quicker")
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import print_table, shown_progress
    from KidneySegLib.evaluation.consensus_cohort import consensus_cohort
    from KidneySegLib.evaluation.readers import CONSENSUS
    from KidneySegLib.evaluation.statistics import summarise
    from KidneySegLib.evaluation.voting import RULES

    with shown_progress(token, quiet=options.quiet) as progress:
        done = consensus_cohort(
            options.readers,
            options.output,
            method=options.method,
            ties=options.ties,
            labels=options.labels,
            surfaces=not options.no_surfaces,
            progress=progress,
        )
    cases = f"{len(done.done)} case{'s' if len(done.done) != 1 else ''}"
    print(f"Combined {cases} of {len(done.readers)} readers by {options.method}: {RULES[options.method]}.")
    rows = []
    for structure in dict.fromkeys(pair.score.structure for pair in done.scores):
        row = [structure]
        for with_consensus in (False, True):
            found = summarise(
                pair.score.values["dice"]
                for pair in done.scores
                if pair.score.structure == structure and (pair.first == CONSENSUS) == with_consensus
            )
            if found.mean is None or found.minimum is None:
                row.append("")
            else:
                row.append(f"{found.mean:.3f} ({found.minimum:.3f})")
        icc = done.icc.get(structure)
        row.append("" if icc is None or icc.icc_2_1 is None else f"{icc.icc_2_1:.3f}")
        rows.append(row)
    print_table(["structure", "Dice of reader pairs (lowest)", "Dice with the consensus", "ICC(2,1) of mL"], rows)
    print(
        f"Not all readers agree in {sum(done.disagreeing_ml.values()):.1f} mL; see disagreement.nii.gz and slices.csv"
    )
    if tied := sum(done.tied_voxels.values()):
        print(f"{tied} voxels were given to a structure by exactly half of the readers")
    for note in done.notes:
        print(f"note: {note}")
    for case_id, why in done.failed.items():
        print(f"kidneyseg: {case_id} could not be combined. {why}", file=sys.stderr)
    print(f"Files: {done.folder}")
