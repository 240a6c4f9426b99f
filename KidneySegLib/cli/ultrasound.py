"""``kidneyseg ultrasound``: outline and measure kidneys on 2-D ultrasound, and make synthetic pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.ultrasound.pipeline import UltrasoundResult

_TEXT = """\
Kidneys on 2-D B-mode ultrasound. The model that ships with the program is a DEMONSTRATION: it has seen
synthetic pictures and no patient, and every result says so. Train one on outlines of your own with
`kidneyseg train ultrasound`.
"""
_EXAMPLES = """\
  kidneyseg ultrasound segment picture.png -o results
  kidneyseg ultrasound phantom -o pictures --cases 20
"""
_SEGMENT_TEXT = """\
Outline the kidney on one picture, or on each frame of a cine loop, measure it, and write a results folder:

  measurements.csv       one row a frame: length, width, area, perimeter in mm (where calibrated) and pixels, flags
  overlay.png            outline and length on the picture; names burnt into its margins are left out
  mask.png               the kidney (255) on the picture's own pixels; loops: segmentation.nii.gz only
  segmentation.nii.gz    all frames
  provenance.json        versions, model, device, times, calibration and flags

IMAGE is a PNG, JPEG, BMP or TIFF picture, or a DICOM ultrasound file (single frame or cine). Calibrated regions
of DICOM give mm. Other pictures are measured in pixels, unless --pixel-mm says how large those are.
"""
_SEGMENT_EXAMPLES = """\
  kidneyseg ultrasound segment kidney.dcm -o results
  kidneyseg ultrasound segment kidney.png -o results --pixel-mm 0.31
  kidneyseg ultrasound segment loop.dcm --frame 12 -o results --model mine
"""
_PHANTOM_TEXT = """\
Make synthetic B-mode pictures with exact truth: images/ and masks/ (255 is kidney), as `kidneyseg train ultrasound`
and `kidneyseg evaluate --task ultrasound` take them, parts/ (1 cortex, 2 medulla, 3 sinus) and pictures.csv.
Seeds below 500,000 are never trained on.
"""
_PHANTOM_EXAMPLES = """\
  kidneyseg ultrasound phantom -o pictures --cases 200
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "ultrasound", "kidneys on 2-D ultrasound", _TEXT, _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    action = shared.add_command(actions, "segment", "outline and measure one picture", _SEGMENT_TEXT, _SEGMENT_EXAMPLES)
    action.add_argument("input", type=Path, metavar="IMAGE", help="picture or DICOM file")
    shared.add_output(action, "results folder; an existing results folder is replaced as a whole")
    action.add_argument("--frame", type=shared.count, metavar="N", help="only this frame of a loop, counted from 1")
    action.add_argument(
        "--pixel-mm",
        type=float,
        nargs="+",
        metavar="MM",
        help="edge of a pixel in mm, or its width and height; goes before what the file says",
    )
    action.add_argument("--case-id", metavar="ID", help="first column of the table (default: the name of OUT)")
    shared.add_engine(action)
    shared.add_quiet(action)
    action.set_defaults(run=run_segment)

    action = shared.add_command(actions, "phantom", "make synthetic pictures", _PHANTOM_TEXT, _PHANTOM_EXAMPLES)
    shared.add_output(action, "folder for the pictures")
    action.add_argument("--cases", type=shared.count, default=1, metavar="N", help="how many (default: 1)")
    action.add_argument("--seed", type=shared.seed, default=0, metavar="S", help="seed of the first (default: 0)")
    shared.add_quiet(action)
    action.set_defaults(run=run_phantom)


def run_segment(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.errors import InputError
    from KidneySegLib.ultrasound.pipeline import segment_ultrasound

    pixel_mm = None
    if options.pixel_mm is not None:
        if len(options.pixel_mm) > 2:
            raise InputError("--pixel-mm takes one number, or width and height, in mm.")
        pixel_mm = (options.pixel_mm[-1], options.pixel_mm[0])
    with shown_progress(token, quiet=options.quiet) as progress:
        result = segment_ultrasound(
            options.input,
            options.output,
            model=options.model,
            device=options.device,
            precision=options.precision,
            pixel_mm=pixel_mm,
            frame=options.frame,
            case_id=options.case_id,
            progress=progress,
        )
    _print(result)


def run_phantom(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.ultrasound.synthetic_set import write_synthetic_set

    with shown_progress(token, quiet=options.quiet) as progress:
        write_synthetic_set(options.output, options.cases, options.seed, progress)
    print(f"{options.cases} synthetic pictures: {options.output}")


def _print(result: UltrasoundResult) -> None:
    from KidneySegLib.cli.terminal import print_table
    from KidneySegLib.flags import FLAGS
    from KidneySegLib.ultrasound.table import cells

    unit, names = ("mm", ("length_mm", "width_mm", "area_mm2", "perimeter_mm"))
    if result.image.pixel_mm is None:
        unit, names = ("px", ("length_px", "width_px", "area_px", "perimeter_px"))
    print(f"Case {result.case_id}")
    rows = [
        [cells(row)["frame"], *(cells(row)[name] for name in names), cells(row)["confidence"]] for row in result.rows
    ]
    square = "mm²" if unit == "mm" else "px"
    print_table(["frame", f"length {unit}", f"width {unit}", f"area {square}", f"perimeter {unit}", "confidence"], rows)
    if result.image.calibration:
        print(f"Calibration: {result.image.calibration}")
    for key in result.flags:
        print(f"{FLAGS[key].severity.value}: {FLAGS[key].sentence}")
    assert result.folder is not None
    print(f"Table:   {result.folder / 'measurements.csv'}")
    print(f"Picture: {result.folder / 'overlay.png'}")
