"""The one road: read, check, segment, postprocess, measure, write. Command line, panel and tests call nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.ct import CtScan, PatientData
    from KidneySegLib.ct.phase import PhaseEstimate
    from KidneySegLib.export.review import Review
    from KidneySegLib.inference.engine import Engine
    from KidneySegLib.inference.evidence import Evidence
    from KidneySegLib.labels import Side, Structure
    from KidneySegLib.measurement import MeasurementTable, Patient
    from KidneySegLib.measurement.uncertainty import Uncertainty
    from KidneySegLib.models import Bundle

#: Packages whose versions provenance names.
PACKAGES = ("numpy", "scipy", "SimpleITK", "pydicom", "openvino", "torch")


@dataclass(frozen=True)
class CaseResult:
    """What one case gave.

    Attributes:
        case_id: first column of the table.
        folder: the results folder.
        scan: what was read.
        labels: result ids (`labels.LABELS`), uint8, on a sub-grid of the scan's grid.
        table: the rows of ``volumes.csv``.
        phase: contrast phase.
        provenance: the content of ``provenance.json``.
    """

    case_id: str
    folder: Path
    scan: CtScan
    labels: sitk.Image
    table: MeasurementTable
    phase: PhaseEstimate
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class CaseChecks:
    """What can be said of a scan before its kidneys are measured.

    Attributes:
        flags: keys of `flags.FLAGS`.
        phase: contrast phase.
    """

    flags: tuple[str, ...]
    phase: PhaseEstimate


def segment_case(
    source: Path | CtScan,
    output: Path,
    *,
    series_uid: str | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    mirror: str = "auto",
    use_localiser: bool = True,
    find_lesions: bool = False,
    raw: bool = False,
    case_id: str | None = None,
    patient: Patient | PatientData | None = None,
    engine: Engine | None = None,
    more_facts: Mapping[str, Any] | None = None,
    progress: Progress = Progress(),
) -> CaseResult:
    """Segment and measure one scan and write its results folder, whole or not at all.

    Args:
        source: DICOM folder or zip, image file, or a scan that was read already.
        output: results folder; an existing results folder is replaced as a whole.
        series_uid: which series of a DICOM folder.
        model: name or folder of a bundle; None is the embedded one.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, ``intel-gpu`` or ``intel-npu``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        mirror: average mirrored passes: ``auto`` (as the bundle says), ``on`` or ``off``.
        use_localiser: find the kidneys on a coarse grid first.
        find_lesions: show cysts and masses too, where the model does so on request.
        raw: also write the network's own label map.
        case_id: first column of the table; None is the name of ``output``.
        patient: what is known of the patient; goes before what the scan says.
        engine: a loaded engine to use; then ``model`` to ``find_lesions`` are not looked at.
        more_facts: written into ``provenance.json`` beside what is there anyway, such as what a batch must know to
            tell a finished case.
        progress: reported to, and asked whether to stop.

    Raises:
        KidneySegError: what the user can mend.
        Cancelled: the user stopped it; nothing was written.
    """
    from KidneySegLib.ct.geometry import check_geometry
    from KidneySegLib.ct.phase import estimate_phase
    from KidneySegLib.export import check_results_folder
    from KidneySegLib.postprocessing import assign_kidneys

    check_results_folder(output)
    clock = _Clock()
    # The model before the scan: one that is missing should be said at once.
    with clock.stage("load"):
        engine = engine or load_engine(
            model,
            device=device,
            precision=precision,
            mirror=mirror,
            use_localiser=use_localiser,
            find_lesions=find_lesions,
            progress=progress,
        )
    with clock.stage("read"):
        scan = _read_scan(source, series_uid, progress)
    result = engine.run(scan.image, progress)
    clock.seconds.update(result.seconds)
    with clock.stage("postprocess"):
        kidneys = assign_kidneys(result, scan.image, progress)
    with clock.stage("check"):
        progress.report("check", 0.0)
        flags = (*scan.flags, *result.flags, *check_geometry(scan.image, scan.slice_thickness_mm))
        phase = estimate_phase(scan.image, kidneys.labels, result.overview)
        progress.report("check", 1.0)
    judged = _judge(kidneys.labels, result.evidence, engine.bundle)
    facts = {
        **(more_facts or {}),
        "model": _model_facts(engine.bundle),
        "localiser": _model_facts(engine.localiser),
        "lesions_shown": engine.shown.finds_lesions,
        "device": result.device,
        "precision": result.precision,
        "backend": result.backend,
        "mirror": mirror,
        "midline": kidneys.midline,
        "notes": (*result.notes, *kidneys.notes),
        "uncertainty": _uncertainty_facts(judged),
    }
    return _measure_and_write(
        _Case(
            case_id or output.resolve().name,
            scan,
            kidneys.labels,
            phase,
            patient,
            "automatic",
            engine.shown,
            engine.bundle.name,
        ),
        output,
        flags=(*((None, key) for key in (*flags, *phase.flags)), *kidneys.flags),
        facts=facts,
        raw_labels=result.raw if raw else None,
        clock=clock,
        progress=progress,
        judged=judged,
    )


def measure_case(
    labels: Path | sitk.Image,
    image: Path | CtScan,
    output: Path,
    *,
    scheme: str = "kidneyseg",
    series_uid: str | None = None,
    case_id: str | None = None,
    patient: Patient | PatientData | None = None,
    origin: str = "corrected",
    model: str = "",
    model_facts: Mapping[str, Any] | None = None,
    review: Review | None = None,
    progress: Progress = Progress(),
) -> CaseResult:
    """Measure a label map that a person made or corrected, and write the same results folder as `segment_case`.

    Args:
        labels: on the scan's grid or a part of it: an image with ids 1-15, or a file.
        image: the scan.
        output: results folder; an existing results folder is replaced as a whole.
        scheme: whose ids a file holds, one of `measurement.SCHEMES`.
        origin: the table's column ``source``: ``corrected``, or ``automatic`` for a result that is measured again as
            it is, such as with other patient data.
        model: name of the model that the labels started from; empty where there was none.
        model_facts: what else is known of it, such as ``version`` and ``sha256``; goes into provenance.
        review: who corrected or accepted the labels, for report and provenance.
        series_uid, case_id, patient, progress: as for `segment_case`.

    Raises:
        KidneySegError: what the user can mend, such as labels on another grid.
        Cancelled: the user stopped it; nothing was written.
    """
    from KidneySegLib.ct.geometry import check_geometry
    from KidneySegLib.ct.phase import estimate_phase
    from KidneySegLib.export import check_results_folder
    from KidneySegLib.export.read_back import read_label_map
    from KidneySegLib.postprocessing import label_flags

    check_results_folder(output)
    clock = _Clock()
    with clock.stage("read"):
        scan = _read_scan(image, series_uid, progress)
        label_map = read_label_map(labels, scheme, scan)
    with clock.stage("check"):
        progress.report("check", 0.0)
        kidney_flags = label_flags(label_map, scan.image)
        flags = (*scan.flags, *check_geometry(scan.image, scan.slice_thickness_mm))
        phase = estimate_phase(scan.image, label_map, None)
        progress.report("check", 1.0)
    return _measure_and_write(
        _Case(case_id or output.resolve().name, scan, label_map, phase, patient, origin, None, model),
        output,
        flags=(*((None, key) for key in (*flags, *phase.flags)), *kidney_flags),
        facts={
            "model": {**(model_facts or {}), "name": model} if model else None,
            "review": review,
            "labels": scheme,
            "notes": (),
        },
        raw_labels=None,
        clock=clock,
        progress=progress,
    )


def check_case(
    source: Path | CtScan,
    *,
    series_uid: str | None = None,
    model: str | Path | None = None,
    device: str = "auto",
    progress: Progress = Progress(),
) -> CaseChecks:
    """What a careful look at a scan says before its kidneys are measured: geometry and contrast phase.

    Runs the model's localiser, if it names one, to find the aorta and the kidneys.

    Raises:
        KidneySegError: what the user can mend.
    """
    from KidneySegLib.ct.geometry import check_geometry
    from KidneySegLib.ct.phase import estimate_phase
    from KidneySegLib.inference.backend import make_backend
    from KidneySegLib.inference.device import choose_device
    from KidneySegLib.inference.grid import frame_of
    from KidneySegLib.inference.localiser import localise
    from KidneySegLib.inference.network import ReadyNetwork
    from KidneySegLib.models import DEFAULT_MODEL, find_bundle, find_localiser

    scan = _read_scan(source, series_uid, progress)
    localiser = find_localiser(find_bundle(model or DEFAULT_MODEL, progress), progress)
    overview = None
    if localiser is not None:
        network = ReadyNetwork(localiser, choose_device(device), "auto", "auto", make_backend)
        overview = localise(network, scan.image, frame_of(scan.image), progress).image()
    progress.report("check", 0.5)
    phase = estimate_phase(scan.image, None, overview)
    progress.report("check", 1.0)
    flags = (*scan.flags, *check_geometry(scan.image, scan.slice_thickness_mm), *phase.flags)
    return CaseChecks(tuple(dict.fromkeys(flags)), phase)


def load_engine(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    mirror: str = "auto",
    use_localiser: bool = True,
    find_lesions: bool = False,
    progress: Progress = Progress(),
) -> Engine:
    """A model ready to run many cases; give it to `segment_case`. Arguments as there."""
    from KidneySegLib.inference.engine import Engine
    from KidneySegLib.models import DEFAULT_MODEL, find_bundle

    return Engine(
        find_bundle(model or DEFAULT_MODEL, progress),
        device=device,
        precision=precision,
        mirror=mirror,
        use_localiser=use_localiser,
        find_lesions=find_lesions,
        progress=progress,
    )


class _Clock:
    """Seconds of wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


@dataclass(frozen=True)
class _Case:
    """What is known of a case when its labels are final."""

    case_id: str
    scan: CtScan
    labels: sitk.Image
    phase: PhaseEstimate
    patient: Patient | PatientData | None
    source: str
    bundle: Bundle | None
    model: str


def _read_scan(source: Path | CtScan, series_uid: str | None, progress: Progress) -> CtScan:
    from KidneySegLib.ct import CtScan, read_ct

    if isinstance(source, CtScan):
        return source
    return read_ct(source, series_uid=series_uid, progress=progress)


def _measure_and_write(
    case: _Case,
    output: Path,
    *,
    flags: tuple[tuple[Side | None, str], ...],
    facts: Mapping[str, Any],
    raw_labels: sitk.Image | None,
    clock: _Clock,
    progress: Progress,
    judged: Mapping[Side | None, Uncertainty] | None = None,
) -> CaseResult:
    from KidneySegLib.export import write_results
    from KidneySegLib.export.overlay import paint_sections
    from KidneySegLib.measurement import Patient, measure
    from KidneySegLib.measurement.uncertainty import add_uncertainty

    scan = case.scan
    given = {} if case.patient is None else {f.name: getattr(case.patient, f.name) for f in fields(case.patient)}
    with ThreadPoolExecutor(1) as beside:
        # The overlay's sections are painted while the kidneys are measured and their label maps packed.
        sections = beside.submit(paint_sections, case.labels, scan.image)
        with clock.stage("measure"):
            table = measure(
                case.labels,
                scan.image,
                case_id=case.case_id,
                patient=Patient.of(scan.patient, **given),
                flags=flags,
                model=case.model,
                source=case.source,
                structures=_structures(case.bundle),
                progress=progress,
            )
            if judged is not None:
                table = add_uncertainty(table, judged)
        provenance = write_results(
            output,
            case_id=case.case_id,
            scan=scan,
            labels=case.labels,
            sections=sections,
            table=table,
            phase=case.phase,
            provenance={
                **program_facts(),
                "source": case.source,
                **facts,
                "notes": (*facts["notes"], *table.notes),
                "seconds": {stage: round(seconds, 3) for stage, seconds in clock.seconds.items()},
            },
            raw_labels=raw_labels,
            progress=progress,
        )
    return CaseResult(case.case_id, output, scan, case.labels, table, case.phase, provenance)


def _uncertainty_facts(judged: Mapping[Side | None, Uncertainty] | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    return {"both" if side is None else side.value: asdict(said) for side, said in judged.items()}


def _judge(
    labels: sitk.Image, evidence: Sequence[Evidence] | None, bundle: Bundle
) -> dict[Side | None, Uncertainty] | None:
    """What the network's passes say about each kidney, for models that know what that is worth; else None."""
    from KidneySegLib.inference.evidence import CALIBRATION_KEY
    from KidneySegLib.measurement.uncertainty import find_signs, judge, read_calibration

    if evidence is None:
        return None
    calibration = read_calibration(bundle.metrics[CALIBRATION_KEY], bundle.name)
    return judge(find_signs(labels, evidence), calibration)


def _structures(bundle: Bundle | None) -> set[Structure]:
    """What could have been found: by a model its outputs, by a person cortex and medulla, and the rest where drawn."""
    from KidneySegLib.labels import Structure

    found = {Structure.CORTEX, Structure.MEDULLA}
    outputs = () if bundle is None else bundle.outputs
    both = "abnormality" in outputs
    return found | {s for s in (Structure.CYST, Structure.MASS) if both or s.value in outputs}


def program_facts() -> dict[str, Any]:
    """Versions of the program, of Python and of `PACKAGES`, as provenance names them."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import KidneySegLib

    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "program": "KidneySeg",
        "version": KidneySegLib.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
    }


def _model_facts(bundle: Bundle | None) -> dict[str, Any] | None:
    if bundle is None:
        return None
    return {"name": bundle.name, "version": bundle.version, "title": bundle.title, "sha256": bundle.digest}
