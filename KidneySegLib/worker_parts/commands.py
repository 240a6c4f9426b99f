"""What each command does. Everything of substance is `pipeline`; here requests become its arguments."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import KidneySegLib
from KidneySegLib.flags import FLAGS
from KidneySegLib.progress import Progress
from KidneySegLib.worker_parts import arrays, dataset_commands, protocol, ultrasound_commands
from KidneySegLib.worker_parts.model_reply import describe_model
from KidneySegLib.worker_parts.protocol import ProtocolError

if TYPE_CHECKING:
    from KidneySegLib.ct import CtScan
    from KidneySegLib.export.review import Review
    from KidneySegLib.inference.engine import Engine
    from KidneySegLib.measurement import Patient
    from KidneySegLib.models import Bundle
    from KidneySegLib.pipeline import CaseResult

#: The sample case, that of ``kidneyseg demo``: two healthy kidneys in the arterial phase, 5 mm slices.
SAMPLE_SEED = 1
SAMPLE_VARIANT = "normal"

Request = Mapping[str, Any]
Reply = dict[str, Any]


class Session:
    """State between commands: the private folder and the warm engine.

    Attributes:
        workspace: private folder of this session; arrays and results lie in it.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._engine: Engine | None = None
        self._engine_choices: dict[str, Any] = {}

    def obey(self, command: str, request: Request, progress: Progress) -> Reply:
        """Do one command and return the fields of its ``result``."""
        handlers: dict[str, Callable[[Request, Progress], Reply]] = {
            "hello": self.hello,
            "capabilities": self.capabilities,
            "devices": self.devices,
            "models": self.models,
            "import_model": self.import_model,
            "verify_model": self.verify_model,
            "remove_model": self.remove_model,
            "check": self.check,
            "segment": self.segment,
            "measure": self.measure,
            "sample": self.sample,
            **{name: partial(handler, self) for name, handler in dataset_commands.HANDLERS.items()},
            **{name: partial(handler, self) for name, handler in ultrasound_commands.HANDLERS.items()},
        }
        if command not in handlers:
            raise ProtocolError(f"{command} cannot be asked for here")
        return handlers[command](request, progress)

    def hello(self, request: Request, progress: Progress) -> Reply:
        """Who answers, and from which process (so that the panel can end the right one)."""
        return {
            "protocol": protocol.PROTOCOL,
            "version": protocol.VERSION,
            "program_version": KidneySegLib.__version__,
            "pid": os.getpid(),
            "python": platform.python_version(),
            "executable": sys.executable,
            **self.capabilities(request, progress),
        }

    def capabilities(self, request: Request, progress: Progress) -> Reply:
        """What this engine offers; the panel shows nothing else."""
        from importlib.util import find_spec

        def offers(module: str) -> bool:
            return find_spec(module) is not None

        return {
            "capabilities": {
                "torch": offers("torch"),
                "import_nnunet": offers("KidneySegLib.models.nnunet") or offers("KidneySegLib.models.import_nnunet"),
                "retraining": offers("KidneySegLib.export.dataset"),
            }
        }

    def devices(self, request: Request, progress: Progress) -> Reply:
        """Devices that can compute, best first."""
        from KidneySegLib.inference.device import available_devices

        return {"devices": [dataclasses.asdict(device) for device in available_devices()]}

    def models(self, request: Request, progress: Progress) -> Reply:
        """Model bundles that segment, embedded and the user's own; localisers come with their models."""
        from KidneySegLib.models import list_bundles

        models = [_describe_bundle(bundle) for bundle in list_bundles() if not bundle.is_localiser]
        return {"models": [*models, *ultrasound_commands.ultrasound_models()]}

    def import_model(self, request: Request, progress: Progress) -> Reply:
        """Copy a bundle (folder or zip) to the user's models."""
        from KidneySegLib.models import import_bundle

        source = _text(request, "source")
        name, replace = request.get("name") or None, bool(request.get("replace"))
        if flat := ultrasound_commands.import_if_ultrasound(Path(source), name, replace, progress):
            return {"model": flat}
        bundle = import_bundle(Path(source), name=name, replace=replace)
        return {"model": _describe_bundle(bundle)}

    def verify_model(self, request: Request, progress: Progress) -> Reply:
        """Compare a bundle's files with its checksums."""
        from KidneySegLib.models import find_bundle, verify_bundle

        if flat := ultrasound_commands.verify_if_ultrasound(_text(request, "model"), progress):
            return {"model": flat}
        bundle = find_bundle(_text(request, "model"), progress)
        verify_bundle(bundle, progress)
        return {"model": _describe_bundle(bundle)}

    def remove_model(self, request: Request, progress: Progress) -> Reply:
        """Delete one of the user's own bundles."""
        from KidneySegLib.models import remove_bundle

        self._engine = None
        name = _text(request, "model")
        remove_bundle(name)
        return {"name": name}

    def check(self, request: Request, progress: Progress) -> Reply:
        """Checks before segmenting: geometry at once, contrast phase from a coarse look at the whole scan."""
        from KidneySegLib import pipeline

        checks = pipeline.check_case(
            self.scan(request), model=_model(request), device=_choice(request, "device"), progress=progress
        )
        return {"flags": list(checks.flags), "phase": _describe_phase(checks.phase)}

    def segment(self, request: Request, progress: Progress) -> Reply:
        """The main job. The results folder stays in the workspace until the session ends."""
        from KidneySegLib import pipeline

        engine = self._warm_engine(request, progress)
        case = pipeline.segment_case(
            self.scan(request),
            self._results_folder(request),
            engine=engine,
            mirror=_choice(request, "mirror"),
            case_id=_case_id(request),
            patient=_patient(request),
            progress=progress,
        )
        return self._describe_case(request, case)

    def measure(self, request: Request, progress: Progress) -> Reply:
        """Table and report of a (corrected) label map."""
        from KidneySegLib import pipeline

        case = pipeline.measure_case(
            arrays.read_image(self.workspace, _mapping(request, "labels")),
            self.scan(request),
            self._results_folder(request),
            case_id=_case_id(request),
            patient=_patient(request),
            origin="automatic" if request.get("source") == "automatic" else "corrected",
            model=str(request.get("model") or ""),
            model_facts=request.get("model_facts") or None,
            review=_review(request),
            progress=progress,
        )
        return self._describe_case(request, case)

    def sample(self, request: Request, progress: Progress) -> Reply:
        """Make the synthetic sample case and return the path of its CT."""
        from KidneySegLib.phantom.output import write_case
        from KidneySegLib.phantom.protocol import LUO_LI_2025

        folder = self.workspace / "sample"
        write_case(folder, SAMPLE_SEED, SAMPLE_VARIANT, LUO_LI_2025, phase="arterial", progress=progress)
        return {"ct": str(folder / "ct.nii.gz"), "truth": str(folder / "truth.json")}

    def _warm_engine(self, request: Request, progress: Progress) -> Engine:
        """The engine of the last case if this one asks for the same, else a new one."""
        from KidneySegLib import pipeline

        choices: dict[str, Any] = {
            "model": _model(request),
            **{name: _choice(request, name) for name in ("device", "precision", "mirror")},
            "use_localiser": bool(request.get("use_localiser", True)),
            "find_lesions": bool(request.get("find_lesions")),
        }
        if self._engine is None or self._engine_choices != choices:
            # Two models in memory at once may be one too many.
            self._engine = None
            self._engine = pipeline.load_engine(**choices, progress=progress)
            self._engine_choices = choices
        return self._engine

    def scan(self, request: Request) -> CtScan:
        """The volume of a request, checked as a file is."""
        from KidneySegLib.ct import scan_from_image

        description = _mapping(request, "volume")
        scan = scan_from_image(arrays.read_image(self.workspace, description), source="3D Slicer")
        thickness = description.get("slice_thickness_mm")
        return dataclasses.replace(
            scan,
            slice_thickness_mm=float(thickness) if thickness else scan.slice_thickness_mm,
            flags=(*scan.flags, *(key for key in description.get("flags") or () if key in FLAGS)),
            acquisition={str(key): str(value) for key, value in (description.get("acquisition") or {}).items()},
        )

    def _results_folder(self, request: Request) -> Path:
        """A fresh folder; that of the case before is not needed any more."""
        folder = self.workspace / f"results-{request['id']}"
        for old in self.workspace.glob("results-*"):
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def _describe_case(self, request: Request, case: CaseResult) -> Reply:
        labels: Any = case.labels
        index = case.scan.image.TransformPhysicalPointToIndex(labels.GetOrigin())  # type: ignore[no-untyped-call,unused-ignore]
        described = arrays.write_image(self.workspace, f"labels-{request['id']}.npy", labels)
        # The cells as the engine wrote them, so that the panel's table and CSV are the same to the last digit.
        with (case.folder / "volumes.csv").open(encoding="utf-8", newline="") as stream:
            columns, *rows = csv.reader(stream)
        return {
            "labels": {**described, "index": [int(value) for value in index]},
            "table": {"columns": columns, "rows": rows},
            "flags": list(case.table.flags),
            "notes": list(case.table.notes),
            "phase": _describe_phase(case.phase),
            "provenance": _plain(case.provenance),
            "folder": str(case.folder),
        }


def _describe_bundle(bundle: Bundle) -> Reply:
    from KidneySegLib.models import is_embedded

    lesions_on_request = bundle.lesions is not None
    return {**describe_model(bundle, "ct", is_embedded(bundle)), "lesions_on_request": lesions_on_request}


def _describe_phase(phase: Any) -> Reply | None:
    if phase is None:
        return None
    return {
        "phase": phase.phase.value,
        "reason": phase.reason,
        "aorta_hu": phase.aorta_hu,
        "cortex_hu": phase.cortex_hu,
        "medulla_hu": phase.medulla_hu,
        "collecting_system_hu": phase.collecting_system_hu,
    }


def _plain(value: Any) -> Any:
    """Provenance as JSON has it."""
    return json.loads(json.dumps(value, default=str))


def _model(request: Request) -> str | None:
    return request.get("model") or None


def _choice(request: Request, name: str) -> str:
    return str(request.get(name) or "auto")


def _patient(request: Request) -> Patient:
    from KidneySegLib.measurement import Patient

    given = request.get("patient") or {}
    return Patient(
        **{
            field.name: given[field.name]
            for field in dataclasses.fields(Patient)
            if given.get(field.name) not in (None, "")
        }
    )


def _review(request: Request) -> Review | None:
    from KidneySegLib.export.review import Review

    given = request.get("review") or {}
    names = [field.name for field in dataclasses.fields(Review)]
    return Review(**{name: given[name] for name in names if name in given}) if given.get("reader") else None


def _text(request: Request, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{key} must be a text, got {value!r}")
    return value


def _mapping(request: Request, key: str) -> Mapping[str, Any]:
    value = request.get(key)
    if not isinstance(value, dict):
        raise ProtocolError(f"{key} must be an object, got {value!r}")
    return value


def _case_id(request: Request) -> str:
    return str(request.get("case_id") or "case")
