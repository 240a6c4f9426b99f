"""Who answers for a result: said by the report, by provenance and by DICOM SEG in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class Review:
    """A person's word on labels.

    Attributes:
        reader: name of the person.
        time: when, ISO 8601.
        status: ``accepted`` or ``rejected``; empty where nothing was decided.
        comment: free text.
        changed_voxels: how many voxels differ from the automatic labels, or None where these are not known.
    """

    reader: str
    time: str = ""
    status: str = ""
    comment: str = ""
    changed_voxels: int | None = None


def changed_voxels(before: sitk.Image, after: sitk.Image, image: sitk.Image) -> int:
    """How many voxels two label maps of one scan tell apart.

    Raises:
        InputError: one does not lie on the scan's grid.
    """
    import SimpleITK as sitk

    from KidneySegLib.export.label_maps import on_whole_grid

    # Kept by name: a view of voxels does not keep its image alive.
    first, second = on_whole_grid(before, image), on_whole_grid(after, image)
    return int((sitk.GetArrayViewFromImage(first) != sitk.GetArrayViewFromImage(second)).sum())


def origin_sentence(provenance: Mapping[str, Any]) -> str:
    """Whether numbers are automatic or corrected, by whom, when and with which model, in one English sentence.

    Args:
        provenance: ``source``, and where there are any ``model`` (``name``, ``version``) and ``review`` (fields of
            `Review`).

    Returns:
        Text without markup; empty if ``source`` is missing.
    """
    source = provenance.get("source")
    if not source:
        return ""
    model = provenance.get("model") or {}
    review = provenance.get("review") or {}
    named = " ".join(str(model[key]) for key in ("name", "version") if model.get(key))
    reader = str(review.get("reader") or "")
    when = str(review.get("time") or "")[:16].replace("T", " ")
    by = (f" by {reader}" if reader else "") + (f", {when}" if when else "")
    if source == "automatic":
        text = "Automatic" + (f", made by the model {named}" if named else "")
        return f"{text}; {review.get('status') or 'seen'}{by}." if reader else f"{text}; not reviewed by a person."
    if named:
        text = f"Corrected{by}, starting from the automatic result of the model {named}"
    else:
        text = f"Drawn or corrected{by}; no model is known"
    voxels = review.get("changed_voxels")
    if voxels is not None and named:
        text += f" ({voxels} voxels changed)"
    if review.get("status") == "rejected":
        text += "; rejected"
    return text + "."
