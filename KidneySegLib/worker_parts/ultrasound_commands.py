"""The engine's commands for 2-D ultrasound. All of substance is in `ultrasound`; here requests become its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress
from KidneySegLib.worker_parts import arrays
from KidneySegLib.worker_parts.model_reply import describe_model
from KidneySegLib.worker_parts.protocol import ProtocolError

if TYPE_CHECKING:
    from KidneySegLib.ultrasound.bundle import UltrasoundBundle
    from KidneySegLib.worker_parts.commands import Session

Request = Mapping[str, Any]
Reply = dict[str, Any]


def ultrasound_models() -> list[Reply]:
    """The ultrasound bundles as the panel lists them."""
    from KidneySegLib.ultrasound.store import list_ultrasound_bundles

    return [describe(bundle) for bundle in list_ultrasound_bundles()]


def import_if_ultrasound(source: Path, name: str | None, replace: bool, progress: Progress) -> Reply | None:
    """Import a bundle for ultrasound; None if the source is something else."""
    from KidneySegLib.models.importing import peek_manifest
    from KidneySegLib.ultrasound.bundle import is_ultrasound_manifest
    from KidneySegLib.ultrasound.store import import_ultrasound_bundle

    if not is_ultrasound_manifest(peek_manifest(source.expanduser())):
        return None
    return describe(import_ultrasound_bundle(source.expanduser(), name, replace, progress))


def verify_if_ultrasound(name: str, progress: Progress) -> Reply | None:
    """Verify a bundle for ultrasound; None if the name is another's."""
    from KidneySegLib.ultrasound.bundle import read_ultrasound_bundle
    from KidneySegLib.ultrasound.store import ultrasound_folder, verify_ultrasound_bundle

    folder = ultrasound_folder(name)
    if folder is None:
        return None
    bundle = read_ultrasound_bundle(folder)
    verify_ultrasound_bundle(bundle, progress=progress)
    return describe(bundle)


def describe(bundle: UltrasoundBundle) -> Reply:
    from KidneySegLib.ultrasound.store import is_embedded

    return describe_model(bundle, "ultrasound", is_embedded(bundle))


def segment_ultrasound(session: Session, request: Request, progress: Progress) -> Reply:
    """Outline and measure the kidney on a picture or loop.

    The request's ``picture`` is ``{"array": NAME, "pixel_mm": [y, x] or null}``: grey (frame, y, x) or colour
    (frame, y, x, 3), uint8. The reply's ``labels`` is an array (frame, y, x) of 0 and 1.
    """
    from KidneySegLib.export.provenance import plain_data
    from KidneySegLib.ultrasound.image import VOLUME_SPACING, make_image
    from KidneySegLib.ultrasound.network import UltrasoundNetwork
    from KidneySegLib.ultrasound.pipeline import segment_ultrasound as segment
    from KidneySegLib.ultrasound.store import find_ultrasound_bundle
    from KidneySegLib.ultrasound.table import COLUMNS, cells

    picture = request.get("picture")
    if not isinstance(picture, dict):
        raise ProtocolError(f"picture must be an object, got {picture!r}")
    pixel_mm = picture.get("pixel_mm")
    image = make_image(
        _frames(arrays.array_path(session.workspace, picture.get("array"))),
        source=Path("3D Slicer"),
        pixel_mm=(float(pixel_mm[0]), float(pixel_mm[1])) if pixel_mm else None,
        calibration=VOLUME_SPACING,
    )
    network = UltrasoundNetwork(
        find_ultrasound_bundle(request.get("model") or None), str(request.get("device") or "auto")
    )
    case_id = str(request.get("case_id") or "case")
    result = segment(image, None, case_id=case_id, network=network, progress=progress)
    name = f"labels-{request['id']}.npy"
    unfinished = session.workspace / (name + ".part")
    with unfinished.open("wb") as stream:
        np.save(stream, np.stack(result.masks).astype(np.uint8), allow_pickle=False)
    unfinished.replace(session.workspace / name)
    return {
        "labels": {"array": name, "index": [0, 0, 0]},
        "table": {"columns": list(COLUMNS), "rows": [list(cells(row).values()) for row in result.rows]},
        "flags": list(result.flags),
        "notes": [],
        "phase": None,
        "provenance": plain_data(result.provenance),
    }


def _frames(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        frames = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"The picture {path.name} could not be read from the workspace: {error}.") from error
    is_colour = frames.ndim == 4 and frames.shape[3] == 3
    if frames.dtype != np.uint8 or not (frames.ndim == 3 or is_colour) or 0 in frames.shape:
        raise InputError(
            f"An ultrasound picture must be 8 bits deep and grey or colour, got {frames.dtype} of shape {frames.shape}."
        )
    return np.asarray(frames)


HANDLERS: dict[str, Callable[[Session, Request, Progress], Reply]] = {"segment_ultrasound": segment_ultrasound}
