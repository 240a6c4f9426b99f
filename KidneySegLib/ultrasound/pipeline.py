"""The one road for ultrasound: read, find the view, outline, measure, write. All doors call nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from KidneySegLib.ultrasound.image import PixelMm, UltrasoundImage
    from KidneySegLib.ultrasound.network import UltrasoundNetwork
    from KidneySegLib.ultrasound.preparation import Mask
    from KidneySegLib.ultrasound.table import FrameRow


@dataclass(frozen=True)
class UltrasoundResult:
    """What one picture or loop gave.

    Attributes:
        case_id: first column of the table.
        folder: the results folder, or None where nothing was written.
        image: what was read.
        masks: the kidney in each frame (y, x); empty where none was found.
        rows: of ``measurements.csv``, one a frame.
        flags: of all frames.
        provenance: the content of ``provenance.json``.
    """

    case_id: str
    folder: Path | None
    image: UltrasoundImage
    masks: tuple[Mask, ...]
    rows: tuple[FrameRow, ...]
    flags: tuple[str, ...]
    provenance: Mapping[str, Any]


def segment_ultrasound(
    source: Path | UltrasoundImage,
    output: Path | None,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    pixel_mm: PixelMm | None = None,
    frame: int | None = None,
    case_id: str | None = None,
    network: UltrasoundNetwork | None = None,
    progress: Progress = Progress(),
) -> UltrasoundResult:
    """Outline and measure the kidney on one ultrasound picture or on each frame of a loop.

    Args:
        source: a picture file, a DICOM file, or what was read already.
        output: results folder, written whole or not at all; None writes nothing.
        model: name or folder of an ultrasound bundle; None is the embedded demonstration.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, ``intel-gpu`` or ``intel-npu``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        pixel_mm: edges of a pixel (y, x) where the file does not say.
        frame: of a loop, counted from 1; None: all.
        case_id: first column of the table; None is the name of ``output`` (or of the file).
        network: a loaded network to use; then ``model``, ``device`` and ``precision`` are not looked at.
        progress: reported to, and asked whether to stop.

    Raises:
        KidneySegError: what the user can mend.
        Cancelled: the user stopped it; nothing was written.
    """
    from KidneySegLib.export import check_results_folder
    from KidneySegLib.flags import join_flags
    from KidneySegLib.ultrasound.network import UltrasoundNetwork
    from KidneySegLib.ultrasound.outline import outline_frames
    from KidneySegLib.ultrasound.reading import read_ultrasound
    from KidneySegLib.ultrasound.results import write_results
    from KidneySegLib.ultrasound.store import find_ultrasound_bundle
    from KidneySegLib.ultrasound.table import frame_row

    if output is not None:
        check_results_folder(output)
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.monotonic()
        seconds[stage], clock = round(now - clock, 3), now

    # The model before the picture: one that is missing should be said at once.
    network = network or UltrasoundNetwork(find_ultrasound_bundle(model), device, precision)
    lap("load")
    if isinstance(source, Path):
        image = read_ultrasound(source, pixel_mm=pixel_mm, frame=frame, progress=progress)
    else:
        image = source
    lap("read")
    outlines = []
    for index, one in enumerate(image.frames):
        progress.report("network", index / len(image.frames), f"frame {index + 1}" if len(image.frames) > 1 else "")
        outlines += outline_frames(one[None], image.view, network)
    progress.report("network", 1.0)
    lap("network")
    name = case_id or (output.resolve().name if output is not None else image.source.stem)
    bundle = network.bundle
    always = (*image.flags, *(("us_demonstration_model",) if bundle.demonstration else ()))
    progress.report("measure", 0.0)
    rows = tuple(
        frame_row(
            found.mask,
            image.pixel_mm,
            case_id=name,
            frame=frame if frame is not None else number,
            confidence=found.confidence,
            flags=(*always, *found.flags),
            model=bundle.name,
        )
        for number, found in enumerate(outlines, start=1)
    )
    lap("measure")
    joined = join_flags(key for row in rows for key in row.flags)
    flags = tuple(joined.split(";")) if joined else ()
    facts = _provenance(name, image, network, flags, seconds)
    masks = tuple(found.mask for found in outlines)
    if output is not None:
        write_results(
            output,
            image=image,
            masks=masks,
            rows=rows,
            demonstration=bundle.demonstration,
            provenance=facts,
            progress=progress,
        )
    return UltrasoundResult(name, output, image, masks, rows, flags, facts)


def _provenance(
    case_id: str,
    image: UltrasoundImage,
    network: UltrasoundNetwork,
    flags: tuple[str, ...],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    from KidneySegLib.export.provenance import FORMAT, FORMAT_VERSION, plain_data
    from KidneySegLib.flags import FLAGS
    from KidneySegLib.pipeline import program_facts

    bundle = network.bundle
    facts: dict[str, Any] = plain_data(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "task": "ultrasound",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "case_id": case_id,
            **program_facts(),
            "source": "automatic",
            "input": {
                "sha256": image.sha256,
                "frames": len(image.frames),
                "size": list(image.view.shape[::-1]),
                "pixel_mm": list(reversed(image.pixel_mm)) if image.pixel_mm else None,
                "calibration": image.calibration or "none: lengths and areas are in pixels",
                "view_share": float(image.view.mean()),
                "acquisition": image.acquisition,
            },
            "model": {
                "name": bundle.name,
                "version": bundle.version,
                "title": bundle.title,
                "sha256": bundle.digest,
                "demonstration": bundle.demonstration,
                "intended_use": bundle.intended_use,
            },
            "device": network.device,
            "precision": network.precision,
            "backend": network.backend,
            "flags": list(flags),
            "notes": [FLAGS[key].sentence for key in flags],
            "seconds": dict(seconds),
        }
    )
    return facts
