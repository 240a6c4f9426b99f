"""What a bundle made from an nnU-Net v2 model keeps of nnU-Net's own ways, so that the engine can follow them.

Such a bundle carries a `NnUnetRecord` (the key ``nnunet`` of ``model.json``): how a scan is turned, normalised and
resampled, which label each output channel writes, and what those labels mean here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.form import Form

#: How the scan's array lies before the network sees it: as it is stored, or turned to right-anterior-superior, which
#: nnU-Net's NibabelIOWithReorient and TotalSegmentator do. The first letter is where x grows to.
ORIENTATIONS = ("stored", "RAS")
#: nnU-Net's CTNormalization, ZScoreNormalization, RescaleTo01Normalization and NoNormalization.
NORMALISATIONS = ("ct", "z_score", "rescale_to_0_1", "none")
SPLINE_ORDERS = (0, 1, 3)
MAX_LABEL = 255
#: What a label of theirs can mean here; ``background`` is everything that is not measured.
#: ``abnormality`` is cyst or mass; which one, post-processing decides by HU.
STRUCTURES = ("background", "parenchyma", "medulla", "cortex", "cyst", "mass", "abnormality")


@dataclass(frozen=True)
class Resampling:
    """nnU-Net's ``resample_data_or_seg_to_shape`` and its arguments.

    Attributes:
        order: of the spline, 0, 1 or 3.
        order_z: of the spline along the coarse axis where that one is resampled apart.
        separate_z: whether the coarse axis is resampled apart; None: where voxels are more than three times as long
            along it.
    """

    order: int
    order_z: int = 0
    separate_z: bool | None = None

    def content(self) -> dict[str, Any]:
        return {"order": self.order, "order_z": self.order_z, "separate_z": self.separate_z}


@dataclass(frozen=True)
class NnUnetRecord:
    """See the module.

    Attributes:
        orientation: one of `ORIENTATIONS`.
        transpose: which axis of the (z, y, x) array comes first, second, third; spacing and patch of the bundle are in
            this order.
        normalisation: one of `NORMALISATIONS`; the bundle's `Normalisation` has the numbers of ``ct``.
        inside_mask: normalise where the scan is not 0 only.
        data, logits: resampling of the scan, and of the network's output back.
        labels: their name of each label id; 0 is the background.
        structures: what an id means here, of `STRUCTURES`; an id that is not in it is background.
        channels: the id that each output channel writes: softmax 0, 1, 2 ..., regions in the order of painting.
    """

    orientation: str
    transpose: tuple[int, int, int]
    normalisation: str
    inside_mask: bool
    data: Resampling
    logits: Resampling
    labels: Mapping[int, str]
    structures: Mapping[int, str]
    channels: tuple[int, ...]

    def content(self) -> dict[str, Any]:
        """What ``model.json`` holds of it."""
        return {
            "orientation": self.orientation,
            "transpose": list(self.transpose),
            "normalisation": self.normalisation,
            "inside_mask": self.inside_mask,
            "data": self.data.content(),
            "logits": self.logits.content(),
            "labels": {str(id): name for id, name in sorted(self.labels.items())},
            "structures": {str(id): name for id, name in sorted(self.structures.items())},
            "channels": list(self.channels),
        }


def read_record(form: Form) -> NnUnetRecord:
    """Read and check what `NnUnetRecord.content` wrote.

    Raises:
        ModelError: naming the key that is wrong.
    """
    x, y, z = (int(v) for v in form.numbers("transpose", 3, 0, 2, whole=True))
    record = NnUnetRecord(
        orientation=form.text("orientation", choices=ORIENTATIONS),
        transpose=(x, y, z),
        normalisation=form.text("normalisation", choices=NORMALISATIONS),
        inside_mask=form.boolean("inside_mask"),
        data=_read_resampling(form.form("data")),
        logits=_read_resampling(form.form("logits")),
        labels=_read_table(form, "labels"),
        structures=_read_table(form, "structures"),
        channels=tuple(int(v) for v in form.numbers("channels", (1, MAX_LABEL + 1), 0, MAX_LABEL, whole=True)),
    )
    form.known_only()
    check_record(record, form.where)
    return record


def check_record(record: NnUnetRecord, where: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ModelError: if keys contradict each other.
    """
    if sorted(record.transpose) != [0, 1, 2]:
        raise ModelError(f"{where}: nnunet.transpose must hold 0, 1 and 2, got {list(record.transpose)}.")
    unknown = sorted(set(record.structures.values()) - set(STRUCTURES))
    if unknown:
        raise ModelError(f"{where}: nnunet.structures must be of {list(STRUCTURES)}, got {unknown}.")
    nameless = sorted((set(record.channels) | set(record.structures)) - set(record.labels))
    if nameless:
        raise ModelError(f"{where}: nnunet.labels must name each label, but not {nameless}.")


def _read_resampling(form: Form) -> Resampling:
    order, order_z = form.integer("order", 0, 3), form.integer("order_z", 0, 3)
    if order not in SPLINE_ORDERS or order_z not in SPLINE_ORDERS:
        raise ModelError(f"{form.where}: spline orders must be of {list(SPLINE_ORDERS)}, got {order} and {order_z}.")
    separate_z = form.boolean("separate_z") if form.has("separate_z") else None
    form.known_only("separate_z")
    return Resampling(order, order_z, separate_z)


def _read_table(form: Form, key: str) -> dict[int, str]:
    table: dict[int, str] = {}
    for id, name in form.mapping(key).items():
        if not id.isdecimal() or int(id) > MAX_LABEL or not isinstance(name, str) or not name.strip():
            raise ModelError(
                f"{form.where}: nnunet.{key} must give a name to whole numbers of 0 to {MAX_LABEL}, "
                f"got {id!r:.80}: {name!r:.80}."
            )
        table[int(id)] = name
    return table
