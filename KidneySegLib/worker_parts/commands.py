"""What each command does. Everything of substance is `pipeline`; here requests become its arguments."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import KidneySegLib
from KidneySegLib.progress import Progress
from KidneySegLib.worker_parts import arrays, protocol
from KidneySegLib.worker_parts.protocol import ProtocolError

if TYPE_CHECKING:
    from KidneySegLib.ct import CtScan

Request = Mapping[str, Any]
Reply = dict[str, Any]


class Session:
    """State between commands: the private folder and the warm engine.

    Attributes:
        workspace: private folder of this session; arrays and results lie in it.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._engine: Any = None
        self._engine_key: tuple[Any, ...] = ()

    def obey(self, command: str, request: Request, progress: Progress) -> Reply:
        """Do one command and return the fields of its ``result``."""
        handlers: dict[str, Callable[[Request, Progress], Reply]] = {
            "hello": self.hello,
            "capabilities": self.capabilities,
            "devices": self.devices,
            "models": self.models,
            "import_model": self.import_model,
            "verify_model": self.verify_model,
            "check": self.check,
            "segment": self.segment,
            "measure": self.measure,
            "sample": self.sample,
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
                "retraining": offers("KidneySegLib.dataset") or offers("KidneySegLib.training.dataset"),
            }
        }

    def devices(self, request: Request, progress: Progress) -> Reply:
        """Devices that can compute, best first."""
        from KidneySegLib.inference.device import available_devices

        return {"devices": [dataclasses.asdict(device) for device in available_devices()]}

    def models(self, request: Request, progress: Progress) -> Reply:
        """Model bundles, embedded and the user's own."""
        from KidneySegLib.models import list_bundles

        return {"models": [_describe_bundle(bundle) for bundle in list_bundles()]}

    def import_model(self, request: Request, progress: Progress) -> Reply:
        """Copy a bundle (folder or zip) to the user's models."""
        from KidneySegLib.models import import_bundle

        source = _text(request, "source")
        bundle = import_bundle(Path(source), name=request.get("name") or None, replace=bool(request.get("replace")))
        return {"model": _describe_bundle(bundle)}

    def verify_model(self, request: Request, progress: Progress) -> Reply:
        """Compare a bundle's files with its checksums."""
        from KidneySegLib.models import find_bundle, verify_bundle

        bundle = find_bundle(_text(request, "model"))
        verify_bundle(bundle)
        return {"model": _describe_bundle(bundle)}

    def check(self, request: Request, progress: Progress) -> Reply:
        """Checks before segmenting: geometry at once, contrast phase from a coarse look at the whole scan."""
        from KidneySegLib import pipeline

        checks = pipeline.check_case(
            self._scan(request),
            model=request.get("model") or "kidneyseg-arterial",
            device=request.get("device") or "auto",
            progress=progress,
        )
        return {"flags": list(checks.flags), "phase": _describe_phase(checks.phase)}

    def segment(self, request: Request, progress: Progress) -> Reply:
        """The main job. The results folder stays in the workspace until the session ends."""
        from KidneySegLib import pipeline

        scan = self._scan(request)
        folder = self._results_folder(request)
        case = pipeline.segment_case(
            scan,
            folder,
            model=request.get("model") or "kidneyseg-arterial",
            device=request.get("device") or "auto",
            precision=request.get("precision") or "auto",
            mirror=request.get("mirror") or "auto",
            use_localiser=bool(request.get("use_localiser", True)),
            case_id=_case_id(request),
            patient=scan.patient,
            progress=progress,
        )
        return self._describe_case(request, case, folder)

    def measure(self, request: Request, progress: Progress) -> Reply:
        """Table and report of a (corrected) label map."""
        from KidneySegLib import pipeline

        scan = self._scan(request)
        folder = self._results_folder(request)
        labels = arrays.read_image(self.workspace, _mapping(request, "labels"))
        case = pipeline.measure_case(
            labels,
            scan,
            folder,
            case_id=_case_id(request),
            patient=scan.patient,
            progress=progress,
        )
        return self._describe_case(request, case, folder)

    def sample(self, request: Request, progress: Progress) -> Reply:
        """Make the synthetic sample case and return the path of its CT."""
        from KidneySegLib.phantom.output import write_case

        folder = self.workspace / "sample"
        progress.report("case", 0.0, "making the sample case")
        write_case(folder, int(request.get("seed", 1)))
        progress.report("case", 1.0)
        return {"ct": str(folder / "ct.nii.gz"), "truth": str(folder / "truth.json")}

    def _scan(self, request: Request) -> CtScan:
        from KidneySegLib.ct import CtScan, PatientData

        description = _mapping(request, "volume")
        image = arrays.read_image(self.workspace, description)
        patient = request.get("patient") or {}
        return CtScan(
            image=image,
            source=Path(str(description.get("name") or "volume")),
            series_uid=description.get("series_uid") or None,
            sha256=_content_sha256(image),
            slice_thickness_mm=float(description.get("slice_thickness_mm") or _slice_spacing_mm(image)),
            flags=tuple(description.get("flags") or ()),
            patient=PatientData(**{field.name: patient.get(field.name) for field in dataclasses.fields(PatientData)}),
            acquisition=dict(description.get("acquisition") or {}),
        )

    def _results_folder(self, request: Request) -> Path:
        return self.workspace / f"results-{request['id']}"

    def _describe_case(self, request: Request, case: Any, folder: Path) -> Reply:
        raise NotImplementedError


def _describe_bundle(bundle: Any) -> Reply:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "title": bundle.title,
        "licence": bundle.licence,
        "citation": bundle.citation,
        "intended_use": bundle.intended_use,
        "outputs": list(bundle.outputs),
        "path": str(bundle.path),
    }


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


def _content_sha256(image: Any) -> str:
    raise NotImplementedError


def _slice_spacing_mm(image: Any) -> float:
    return float(image.GetSpacing()[2])


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
