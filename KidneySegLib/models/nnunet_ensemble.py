"""A model and one of nnU-Net's that finds the same structures, made into one bundle (see `ensemble`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from KidneySegLib.models.bundle import Bundle, BundleSpec
from KidneySegLib.models.ensemble import check_ensemble
from KidneySegLib.models.nnunet_pair import join_bundles, joined_spec
from KidneySegLib.models.store import find_bundle
from KidneySegLib.progress import Progress

#: What the nnU-Net model's files are called after: ``nnunet_weights.safetensors`` and so on.
_PREFIX = "nnunet_"


def ensemble_bundles(
    model: str | Path,
    nnunet: Path,
    name: str | None = None,
    *,
    replace: bool = False,
    label_map: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: Progress = Progress(),
) -> Bundle:
    """Make one bundle among the user's models, whole or not at all, that averages two models' probabilities.

    Both models' files are copied, so that the bundle's digest tells what was run.

    Args:
        model: name or folder of a bundle that is none of nnU-Net's, such as ``kidneyseg train abnormality`` makes.
        nnunet: an nnU-Net v2 model (folder or zip; needs torch) or a bundle folder made from one. Cysts and masses that
            it tells apart are added up where the other model finds abnormality, medulla and cortex where it finds
            parenchyma.
        name: of the new bundle; default the first model's with ``-ensemble``.
        replace: allow an existing model of that name.
        label_map: see `nnunet.import_nnunet`.
        folder: where to write the bundle; default among the user's models.
        progress: told about the import; may cancel.

    Raises:
        DependencyError, ModelError: see `nnunet.import_nnunet`; also where the two do not find the same.
    """
    return join_bundles(
        find_bundle(model, progress).path,
        nnunet,
        _ensemble,
        _PREFIX,
        name,
        replace=replace,
        label_maps=(None, label_map),
        folder=folder,
        progress=progress,
    )


def _ensemble(first: Bundle, second: Bundle, name: str | None) -> BundleSpec:
    licence = first.licence if first.licence == second.licence else f"{first.licence}; nnU-Net: {second.licence}"
    spec = joined_spec(
        first,
        second,
        _PREFIX,
        name=name or f"{first.name[:55]}-ensemble",
        licence=licence,
        title=f"{first.title}; averaged with nnU-Net: {second.title}"[:250],
        # What both find together is shown. What was measured holds for one model, not for the mean.
        lesions=None,
        cortex_border=None,
        metrics={},
        origin={"kind": "ensemble", "first": _facts(first), "second": _facts(second)},
    )
    check_ensemble(spec, f"{first.name} and {second.name}")
    return spec


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {"name": bundle.name, "version": bundle.version, "sha256": bundle.digest, "metrics": dict(bundle.metrics)}
