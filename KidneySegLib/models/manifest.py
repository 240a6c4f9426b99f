"""Reading and checking ``model.json``: every key is known, every number in range, and keys agree with each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import (
    ACTIVATIONS,
    FILE_PATTERN,
    FINE_OUTPUTS,
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    MAX_FOLDS,
    MAX_PATCH_EDGE,
    MAX_PATCH_VOXELS,
    NAME_PATTERN,
    OVERVIEW_OUTPUTS,
    ULTRASOUND_FORMAT,
    Bundle,
    BundleSpec,
    CortexBorder,
    FoldFiles,
    LesionsOnRequest,
    Normalisation,
    Size,
    SpacingMm,
)
from KidneySegLib.models.ensemble import check_ensemble
from KidneySegLib.models.form import Form
from KidneySegLib.models.model_json import check_version, manifest_form, read_description, read_folder, read_hashes
from KidneySegLib.models.nnunet_record import check_record, read_record
from KidneySegLib.models.two_stage import read_two_stage


def read_bundle(folder: Path) -> Bundle:
    """Read and validate the manifest of a bundle folder, and check that its files exist.

    The files' hashes are checked by `verify_bundle`, and by the engine for the files that it loads.

    Raises:
        ModelError: if the folder, its manifest or one of its files is missing, or the manifest is not valid.
    """
    return read_folder(folder, parse_manifest)


def parse_manifest(text: str, folder: Path) -> Bundle:
    """Validate the text of a ``model.json``; ``folder`` is where the bundle lies (used in messages too).

    Raises:
        ModelError: naming the key that is wrong, what was expected and what came.
    """
    where = str(folder / MANIFEST)
    form = manifest_form(text, where)
    kind = form.text("format")
    if kind == ULTRASOUND_FORMAT:
        raise ModelError(
            f"{where} is a model for ultrasound pictures, not for CT. Use it with: kidneyseg ultrasound segment."
        )
    if kind != FORMAT:
        raise ModelError(f"{where} is not a KidneySeg model: its format must be '{FORMAT}', got {kind!r}.")
    check_version(form, FORMAT_VERSION)
    bundle = Bundle(
        path=folder,
        sha256=read_hashes(form),
        localiser=form.text("localiser", pattern=NAME_PATTERN) if form.has("localiser") else None,
        lesions=_read_lesions(form.form("lesions")) if form.has("lesions") else None,
        cortex_border=_read_cortex_border(form.form("cortex_border")) if form.has("cortex_border") else None,
        partner=_read_partner(form, folder) if form.has("partner") else None,
        two_stage=read_two_stage(form.form("two_stage")) if form.has("two_stage") else None,
        **_read_network(form),
    )
    form.known_only("localiser", "lesions", "cortex_border", "partner", "nnunet", "origin", "two_stage")
    check_spec(bundle, where)
    _check_files(bundle, where)
    return bundle


def _read_partner(form: Form, folder: Path) -> Bundle:
    part = form.form("partner")
    partner = Bundle(path=folder, sha256=read_hashes(form), **_read_network(part))
    part.known_only("nnunet", "origin")
    return partner


def _read_lesions(form: Form) -> LesionsOnRequest:
    least_mm = form.number("least_mm", 0.0, 100.0)
    lesions = LesionsOnRequest(
        least_mm,
        form.number("least_sure_mm", 0.0, least_mm) if form.has("least_sure_mm") else None,
        form.number("sure_probability", 0.0, 1.0) if form.has("sure_probability") else 1.0,
    )
    form.known_only()
    return lesions


def _read_cortex_border(form: Form) -> CortexBorder:
    border = CortexBorder(
        form.number("least_contrast_hu", 0.0, 1000.0),
        form.number("prior_shift", -5.0, 5.0) if form.has("prior_shift") else 0.0,
    )
    form.known_only()
    return border


def _read_network(form: Form) -> dict[str, Any]:
    """The attributes of a `Bundle` that a partner has too."""
    network = form.form("network")
    given = form.form("input")
    normalisation = given.form("normalisation")
    output = form.form("output")
    attributes = {
        **read_description(form, network),
        "spacing_mm": _triple(given.numbers("spacing_mm", 3, 0.05, 50.0)),
        "patch_size": _size(given.numbers("patch_size", 3, 1, MAX_PATCH_EDGE, whole=True)),
        "size_multiple": _size(given.numbers("size_multiple", 3, 1, 512, whole=True)),
        "flexible_tiles": given.boolean("flexible_tiles"),
        "margin": _size(given.numbers("margin", 3, 0, 256, whole=True)) if given.has("margin") else (0, 0, 0),
        "tile_step": given.number("tile_step", 0.1, 1.0),
        "normalisation": Normalisation(
            low_hu=normalisation.number("low_hu", -1e5, 1e5),
            high_hu=normalisation.number("high_hu", -1e5, 1e5),
            mean_hu=normalisation.number("mean_hu", -1e5, 1e5),
            standard_deviation_hu=normalisation.number("standard_deviation_hu", 1e-3, 1e5),
        ),
        "mirror_axes": tuple(int(v) for v in given.numbers("mirror_axes", (0, 3), 0, 2, whole=True)),
        "mirror": given.boolean("mirror"),
        "outputs": output.texts("names", FINE_OUTPUTS + OVERVIEW_OUTPUTS),
        "activation": output.text("activation", choices=ACTIVATIONS),
        "threshold": output.number("threshold", 0.0, 1.0),
        "folds": _read_folds(form),
        "nnunet": read_record(form.form("nnunet")) if form.has("nnunet") else None,
        "origin": form.mapping("origin") if form.has("origin") else {},
    }
    for part in (network, given, normalisation, output):
        part.known_only()
    return attributes


def check_spec(spec: BundleSpec, where: str) -> None:
    """Check what one key alone cannot tell.

    Raises:
        ModelError: if keys contradict each other, or a shape is absurd.
    """

    def refuse(message: str) -> None:
        raise ModelError(f"{where}: {message}")

    for size in (spec.patch_size, spec.size_multiple):
        if len(size) != 3 or min(size) < 1:
            refuse(f"sizes must be three whole numbers of at least 1, got {size}.")
    if math.prod(spec.patch_size) > MAX_PATCH_VOXELS:
        refuse(f"input.patch_size {list(spec.patch_size)} has more voxels than {MAX_PATCH_VOXELS}.")
    if any(p % m for p, m in zip(spec.patch_size, spec.size_multiple, strict=True)):
        refuse(f"input.patch_size {list(spec.patch_size)} must be a multiple of {list(spec.size_multiple)}.")
    n = spec.normalisation
    if not n.low_hu < n.high_hu:
        refuse(f"input.normalisation.low_hu must be below high_hu, got {n.low_hu} and {n.high_hu}.")
    if len(set(spec.mirror_axes)) != len(spec.mirror_axes):
        refuse(f"input.mirror_axes must differ, got {list(spec.mirror_axes)}.")
    if not spec.outputs or len(set(spec.outputs)) != len(spec.outputs):
        refuse(f"output.names must be different names, at least one, got {list(spec.outputs)}.")
    kinds = FINE_OUTPUTS if not spec.is_localiser else OVERVIEW_OUTPUTS
    if not set(spec.outputs) <= set(kinds):
        refuse(f"output.names must all be of {list(kinds)}, got {list(spec.outputs)}.")
    if spec.activation == "softmax":
        if spec.outputs[0] != "background" or len(spec.outputs) < 2:
            refuse("output.names of a softmax network must begin with 'background' and name one structure more.")
        if "parenchyma" in spec.outputs and {"cortex", "medulla"} & set(spec.outputs):
            refuse("output.names of a softmax network must not hold parenchyma beside cortex or medulla.")
    elif not spec.finds_cortex_only:
        if spec.is_localiser:
            refuse("output.activation of a localiser must be 'softmax'.")
        if "parenchyma" not in spec.outputs or {"background", "medulla"} & set(spec.outputs):
            refuse("output.names of a sigmoid network must hold 'parenchyma', and no 'background' or 'medulla'.")
    complete = "parenchyma" in spec.outputs or {"medulla", "cortex"} <= set(spec.outputs) or spec.finds_cortex_only
    if not spec.is_localiser and not complete:
        refuse(f"output.names must hold 'parenchyma', or 'medulla' and 'cortex', got {list(spec.outputs)}.")
    if any(spec.margin) and (spec.is_localiser or spec.nnunet is not None):
        refuse("a localiser or a model of nnU-Net has no margin.")
    if "abnormality" in spec.outputs and {"cyst", "mass"} & set(spec.outputs):
        refuse("output.names must not hold abnormality beside cyst or mass.")
    if spec.nnunet is not None:
        check_record(spec.nnunet, where)
        if spec.is_localiser or spec.flexible_tiles:
            refuse("a model of nnU-Net is no localiser, and its tiles are not flexible.")
    if spec.two_stage is not None and (spec.nnunet is not None or spec.partner is not None):
        refuse("a two-stage model has no partner, and is none of nnU-Net's.")
    channels = spec.network_arguments.get("in_channels")
    if spec.two_stage is not None and (not isinstance(channels, int) or channels % 6 != 3):
        refuse(f"a two-stage network's in_channels must be 3 for each of an odd number of slices, got {channels}.")
    if spec.lesions is not None:
        if spec.activation != "sigmoid" or spec.outputs[-1] != "abnormality":
            refuse("a model that shows lesions on request must be a sigmoid network whose last output is abnormality.")
        if spec.nnunet is not None or spec.two_stage is not None or spec.partner is not None:
            refuse("a model of nnU-Net's, or one with a partner or two stages, shows all that it finds.")
    if spec.cortex_border is not None:
        if spec.activation != "sigmoid" or not {"parenchyma", "cortex"} <= set(spec.outputs):
            refuse("cortex_border needs a sigmoid network whose outputs are parenchyma and cortex.")
        if spec.nnunet is not None or spec.two_stage is not None or spec.partner is not None:
            refuse("a model of nnU-Net's, or one with a partner or two stages, has no cortex_border.")
    if spec.is_ensemble and spec.partner is not None:
        check_ensemble(spec, where)
        check_spec(spec.partner, f"{where}: partner")
    elif spec.partner is not None:
        if spec.partner.partner is not None or "cortex" not in spec.partner.outputs:
            refuse("partner must find the cortex, and have no partner itself.")
        if "parenchyma" not in spec.outputs or "cortex" in spec.outputs:
            refuse("a model with a partner must find parenchyma, and leave the cortex to the partner.")
        if spec.partner.nnunet is None:
            refuse("a partner must come from nnU-Net.")
        check_spec(spec.partner, f"{where}: partner")


def _check_files(bundle: Bundle, where: str) -> None:
    partner_folds = bundle.partner.folds if isinstance(bundle.partner, Bundle) else ()
    for name in bundle.two_stage.files if bundle.two_stage is not None else ():
        if name not in bundle.sha256:
            raise ModelError(f"{where}: files must give the SHA-256 of {name}, which two_stage names.")
    for fold in (*bundle.folds, *partner_folds):
        for name in (fold.weights, fold.graph, fold.graph_weights):
            if name not in bundle.sha256:
                raise ModelError(f"{where}: files must give the SHA-256 of {name}, which folds names.")


def _read_folds(form: Form) -> tuple[FoldFiles, ...]:
    folds = form.items("folds", 1, MAX_FOLDS)
    result = []
    for index, value in enumerate(folds):
        fold = Form(value, form.where, f"folds[{index}].")
        result.append(
            FoldFiles(
                fold.text("weights", pattern=FILE_PATTERN),
                fold.text("graph", pattern=FILE_PATTERN),
                fold.text("graph_weights", pattern=FILE_PATTERN),
            )
        )
        fold.known_only()
    return tuple(result)


def _triple(values: list[float]) -> SpacingMm:
    return values[0], values[1], values[2]


def _size(values: list[float]) -> Size:
    return int(values[0]), int(values[1]), int(values[2])
