"""The engine: from a scan to label maps of the kidneys, coarse to fine. Loaded once, it runs many cases."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError, ModelError
from KidneySegLib.inference.backend import BackendMaker, make_backend
from KidneySegLib.inference.cortex_border import with_cortex_as_seen
from KidneySegLib.inference.device import choose_device
from KidneySegLib.inference.ensemble import Partner
from KidneySegLib.inference.evidence import Evidence, evidence_of, has_evidence
from KidneySegLib.inference.grid import Box, Frame, Grid, bounds_of, frame_of, grid_of, size3
from KidneySegLib.inference.labelling import kidney_mask, training_labels
from KidneySegLib.inference.lesions import SUSPECTED, lie_at_parenchyma, without_lesions, worth_showing
from KidneySegLib.inference.localiser import Overview, localise
from KidneySegLib.inference.network import ReadyNetwork, normalise
from KidneySegLib.inference.nnunet_case import find_labels, raw_table
from KidneySegLib.inference.regions import (
    MOST_GROWTHS,
    body_box,
    box_on,
    grown,
    kept_part,
    kidney_boxes,
    merge_overlapping,
    stray,
    surround,
    within_reach,
)
from KidneySegLib.inference.resampling import sample, write_back
from KidneySegLib.inference.tiling import Float32
from KidneySegLib.inference.two_stage import find_two_stage, lesion_flags
from KidneySegLib.inference.two_stage_networks import TwoStageNetworks
from KidneySegLib.labels import ABNORMALITY_LABEL, TrainingLabel
from KidneySegLib.models.bundle import Bundle
from KidneySegLib.models.store import find_bundle, find_localiser
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

MIRROR_CHOICES = ("auto", "on", "off")
#: Kept round the kidneys in the result, so that what follows sees their surroundings.
RESULT_MARGIN_MM = 10.0
#: Voxel size of the look for the body when there is no localiser.
_BODY_SPACING_MM = (8.0, 8.0, 8.0)


@dataclass(frozen=True)
class EngineResult:
    """What the networks found in one scan.

    Attributes:
        labels: uint8 training label ids (`labels.TrainingLabel`) on a part of the scan's own grid: the kidneys with a
            margin; the whole grid, all 0, if nothing was found.
        index: (x, y, z) index in the scan's grid of the first voxel of ``labels``.
        divided: whether cortex was told from medulla. If not, id 1 is all parenchyma.
        raw: the network's own label map, ids of `raw_names`, on the grid of ``labels``.
        raw_names: name of each id of ``raw``.
        overview: the localiser's coarse map (`labels.OverviewLabel` ids) of the whole scan; None without localiser.
        device: where the fine network ran in the end.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        backend: ``openvino`` or ``torch``.
        seconds: wall time of the stages localise, preprocess, network and resample.
        notes: what a person should know about the run, such as memory that ran out.
        evidence: what each pass of the fine network said, by region; None with a single pass, or where the model does
            not say what its evidence is worth.
        kidney: how probable the whole kidney is, cysts and masses included, to each look of both stages of a two-stage
            model; None for others.
        flags: keys of `flags.FLAGS` that the model itself raises.
    """

    labels: sitk.Image
    index: tuple[int, int, int]
    divided: bool
    raw: sitk.Image
    raw_names: Mapping[int, str]
    overview: sitk.Image | None
    device: str
    precision: str
    backend: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] | None = None
    kidney: Evidence | None = None
    flags: tuple[str, ...] = ()


class Engine:
    """A model made ready on a device.

    Args:
        bundle: a fine bundle, its name or its path.
        device: ``auto`` or one of `device.DEVICE_KINDS`.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        mirror: ``auto`` (as the bundle says), ``on`` or ``off``.
        use_localiser: False searches the whole body with the fine network.
        find_lesions: show cysts and masses too, where the bundle does so on request (`lesions`).
        progress: may cancel the loading.
        make: makes backends; `backend.make_torch_backend` gives the plain reference.

    Raises:
        ModelError: if the model, or the localiser that it names, is missing, damaged or of another kind, or it finds no
            lesions.
        DeviceError: if the device is absent or lacks the precision.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        mirror: str = "auto",
        use_localiser: bool = True,
        find_lesions: bool = False,
        progress: Progress = Progress(),
        make: BackendMaker = make_backend,
    ) -> None:
        if mirror not in MIRROR_CHOICES:
            raise ModelError(f"Mirroring must be one of {', '.join(MIRROR_CHOICES)}, got '{mirror}'.")
        self.bundle = bundle if isinstance(bundle, Bundle) else find_bundle(bundle, progress)
        if self.bundle.is_localiser:
            raise ModelError(
                f"{self.bundle.name} is a localiser, which finds kidneys but does not measure them. "
                "Choose a model that names it, such as kidneyseg-arterial."
            )
        if self.bundle.finds_cortex_only:
            raise ModelError(
                f"{self.bundle.name} finds the cortex only, which is measured inside the parenchyma. Import it "
                "together with the model that finds parenchyma: kidneyseg models import PARENCHYMA --cortex CORTEX."
            )
        chosen = choose_device(device)
        self.localiser = find_localiser(self.bundle, progress) if use_localiser else None
        if find_lesions and not self.bundle.finds_lesions:
            raise ModelError(
                f"{self.bundle.name} finds no cysts and masses. Leave --lesions out, or choose a model that does, such "
                "as kidneyseg-arterial."
            )
        #: The bundle without what it finds but was not asked to show.
        self.shown = self.bundle if find_lesions else without_lesions(self.bundle)
        progress.check()
        self._coarse = (
            ReadyNetwork(self.localiser, chosen, precision, "auto", make) if self.localiser is not None else None
        )
        progress.check()
        self._two_stage = (
            TwoStageNetworks(self.bundle, chosen, precision, mirror) if self.bundle.two_stage is not None else None
        )
        if self._two_stage is not None:
            return
        self._fine = ReadyNetwork(self.bundle, chosen, precision, mirror, make)
        partner = self.bundle.partner
        self._partner = ReadyNetwork(partner, chosen, precision, mirror, make) if isinstance(partner, Bundle) else None

    def run(self, image: sitk.Image, progress: Progress = Progress()) -> EngineResult:
        """Segment one scan.

        Args:
            image: HU, 3-D, one value a voxel, any orientation, spacing and number type.
            progress: told about the stages; may cancel.

        Raises:
            InputError: if the image is not a 3-D scalar image.
            DeviceError: if memory ran out on every rung of the ladder.
            Cancelled: if the user asked to stop.
        """
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise InputError(
                f"A 3-D scan with one value a voxel was expected, got {image.GetDimension()} dimensions and "
                f"{image.GetNumberOfComponentsPerPixel()} values a voxel."
            )
        if self._two_stage is not None:
            return self._run_two_stage(self._two_stage, image, progress)
        if self.bundle.nnunet is not None:
            return self._run_nnunet(image, progress)
        second = Partner(self._partner, self.bundle.outputs, image) if self._partner is not None else None
        hidden = self.bundle.finds_lesions and not self.shown.finds_lesions
        case = _Case(self.bundle, self._fine, image, frame_of(image), progress, second, hide_lesions=hidden)
        overview: Overview | None = None
        with case.timed("localise"):
            if self._coarse is not None:
                overview = localise(self._coarse, image, case.frame, progress)
                self._coarse.rest()
                cores = kidney_boxes(overview.kidney, overview.grid, case.grid)
            else:
                cores = (case.body(),)
            progress.report("localise", 1.0)
        case.search(cores, overview)
        self._rest()
        labels, index = case.result()
        for stage in ("preprocess", "network", "resample"):
            progress.report(stage, 1.0)
        backend = self._fine.backend
        return EngineResult(
            labels=labels,
            index=index,
            divided=self.bundle.divides_parenchyma,
            raw=labels,
            raw_names=raw_names(self.shown),
            overview=overview.image() if overview is not None else None,
            device=backend.device,
            precision=backend.precision,
            backend=backend.name,
            seconds=dict(case.seconds),
            notes=tuple(
                note
                for network in (self._coarse, self._fine, self._partner)
                for note in (network.notes if network is not None else ())
            ),
            evidence=tuple(case.evidence) if case.keeps_evidence else None,
            flags=(SUSPECTED,) if case.hides_lesions else (),
        )

    def _run_two_stage(self, networks: TwoStageNetworks, image: sitk.Image, progress: Progress) -> EngineResult:
        """Both stages over the whole scan; a localiser, where the bundle names one, says what of it can be kidney."""
        clock = StageClock()
        overview: Overview | None = None
        if self._coarse is not None:
            with clock.timed("localise"):
                overview = localise(self._coarse, image, frame_of(image), progress)
                self._coarse.rest()
        found = find_two_stage(networks, image, clock.timed, progress)
        for stage in ("localise", "preprocess", "network", "resample"):
            progress.report(stage, 1.0)
        return EngineResult(
            labels=found.labels,
            index=found.index,
            divided=False,
            raw=found.labels,
            raw_names=raw_names(self.bundle),
            overview=overview.image() if overview is not None else None,
            device=networks.device,
            precision=networks.precision,
            backend=networks.backend,
            seconds=dict(clock.seconds),
            notes=self._coarse.notes if self._coarse is not None else (),
            kidney=found.kidney,
            flags=lesion_flags(self.bundle, found.labels),
        )

    def _rest(self) -> None:
        """What follows, and the wait for the next case, go on without the networks' memory."""
        for network in (self._fine, self._partner):
            if network is not None:
                network.rest()

    def _run_nnunet(self, image: sitk.Image, progress: Progress) -> EngineResult:
        """As nnU-Net does it: the whole scan; round the kidneys where the bundle names a localiser."""
        clock = StageClock()
        overview: Overview | None = None
        with clock.timed("localise"):
            frame = frame_of(image)
            if self._coarse is not None and frame.aligned:
                overview = localise(self._coarse, image, frame, progress)
                self._coarse.rest()
            progress.report("localise", 1.0)
        networks = (self._fine,) if self._partner is None else (self._fine, self._partner)
        labels, raw, index = find_labels(networks, image, clock.timed, progress, overview)
        self._rest()
        for stage in ("preprocess", "network", "resample"):
            progress.report(stage, 1.0)
        backend = self._fine.backend
        return EngineResult(
            labels=labels,
            index=index,
            divided=self.bundle.divides_parenchyma,
            raw=raw,
            raw_names=raw_names(self.bundle),
            overview=overview.image() if overview is not None else None,
            device=backend.device,
            precision=backend.precision,
            backend=backend.name,
            seconds=dict(clock.seconds),
            notes=tuple(note for network in networks for note in network.notes),
        )


def raw_names(bundle: Bundle) -> dict[int, str]:
    """Names of the ids in a bundle's own label map."""
    if bundle.nnunet is not None:
        return raw_table(bundle)
    names = {"medulla" if bundle.divides_parenchyma else "parenchyma": 1, "cortex": 2, "cyst": 3, "mass": 4}
    names["abnormality"] = ABNORMALITY_LABEL
    found = {*bundle.outputs, "medulla" if bundle.divides_parenchyma else "parenchyma"}
    return {0: "background", **{id: name for name, id in names.items() if name in found}}


class StageClock:
    """Seconds of wall time by stage of the engine."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"localise": 0.0, "preprocess": 0.0, "network": 0.0, "resample": 0.0}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage's seconds."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin


class _Case(StageClock):
    """One scan on its way through the fine network."""

    def __init__(
        self,
        spec: Bundle,
        network: ReadyNetwork,
        image: sitk.Image,
        frame: Frame,
        progress: Progress,
        second: Partner | None = None,
        *,
        hide_lesions: bool = False,
    ) -> None:
        super().__init__()
        self.frame = frame
        self.grid: Grid = grid_of(frame, spec.spacing_mm)
        self._spec = spec
        self._network = network
        self._second = second
        self._image = image
        self._progress = progress
        self._hide_lesions = hide_lesions
        #: Whether some lay at a kidney.
        self.hides_lesions = False
        self._parts: list[tuple[NDArray[np.uint8], Box]] = []
        self.evidence: list[Evidence] = []
        self.keeps_evidence = has_evidence(spec) and network.passes_per_tile > 1
        self._done = 0.0  # Share of the regions that is finished.
        self._share = 1.0  # Share of the region at work.

    def body(self) -> Box:
        """The box of the body, for a search without localiser."""
        coarse = grid_of(self.frame, _BODY_SPACING_MM)
        n = self._spec.normalisation
        hu = sample(self._image, coarse, coarse.whole, low_hu=n.low_hu, high_hu=n.high_hu)
        return box_on(body_box(hu, n.low_hu), coarse, self.grid)

    def search(self, cores: tuple[Box, ...], overview: Overview | None) -> None:
        """Look at each core with the fine network.

        With an overview, what strays far from every kidney in it is dropped, and where a core cuts a kidney the network
        looks again at a larger one. A core that grows into one still to come takes it over: fused kidneys are looked at
        as one, and not from both ends.
        """
        grow = overview is not None
        total = sum(core.voxels for core in cores)
        to_come = list(cores)
        while to_come:
            core = to_come.pop(0)
            self._share = core.voxels / total
            for attempt in range(MOST_GROWTHS + 1):
                values, passes, volume, region = self._look(core)
                if overview is None:
                    break
                found = kidney_mask(values, self._spec)
                near = within_reach(overview.kidney, overview.grid, self.grid, region)
                dropped = stray(found, near, self.grid.spacing_mm)
                values *= ~dropped
                part = kept_part(found & ~dropped, region, core)
                if part is None:
                    break
                larger = grown(part, region, self.grid) if attempt < MOST_GROWTHS else None
                core = core.union(part)
                if larger is None:
                    break
                *to_come, core = merge_overlapping([*to_come, core.union(larger)])
                self._share = 1.0 - self._done - sum(other.voxels for other in to_come) / total
            self._keep(values, volume, region, core if grow else region)
            if passes:
                kept = core if grow else region
                z, y, x = kept.within(region)
                parts = [single[:, z, y, x] for single in passes]
                self.evidence.append(evidence_of(parts, self._spec, self.grid, kept))
            self._done += self._share

    def _look(self, core: Box) -> tuple[Float32, list[Float32], Float32, Box]:
        """Round a core: probabilities (outputs, z, y, x), those of each pass, the network's input there, the region."""
        region, tile = surround(core, self.grid, self._spec)
        volume = self._network_input(region)
        with self.timed("network"):
            passes: list[Float32] = []
            if self.keeps_evidence:
                values, passes = self._network.passes(volume, tile, self._on_network)
            else:
                values = self._network.probabilities(volume, tile, self._on_network)
        if self._second is not None:
            self._second.mean_with(values, self.grid, region, self.timed, self._on_second)
        z, y, x = (slice(m, n - m) for m, n in zip(self._spec.margin, volume.shape, strict=True))
        volume = volume[z, y, x]
        if self._spec.lesions is not None:
            values = worth_showing(values, volume, self._spec)
        return values, passes, volume, region

    def _network_input(self, region: Box) -> Float32:
        """The normalised volume of a region and the network's margin, with air where that reaches beyond the scan."""
        spec = self._spec
        n = spec.normalisation
        with self.timed("preprocess"):
            seen = region.grown(spec.margin, self.grid.shape)
            volume = sample(
                self._image,
                self.grid,
                seen,
                low_hu=n.low_hu,
                high_hu=n.high_hu,
                on_block=lambda fraction: self._report("preprocess", fraction),
            )
            normalise(volume, n)
            missing = [
                (m - (inner - low), m - (high - stop))
                for m, inner, low, stop, high in zip(
                    spec.margin, region.start, seen.start, region.stop, seen.stop, strict=True
                )
            ]
            if not any(low or high for low, high in missing):
                return volume
            padded: Float32 = np.pad(volume, missing, constant_values=spec.padding)
            return padded

    def _on_network(self, fraction: float, message: str) -> None:
        self._report("network", fraction, message)

    def _on_second(self, stage: str, fraction: float, message: str) -> None:
        self._report(stage, 1.0 + fraction, message)

    def _keep(self, values: Float32, volume: Float32, region: Box, core: Box) -> None:
        """Write a region's labels onto the scan's voxels, those of its core."""
        with self.timed("resample"):
            z, y, x = core.within(region)
            spacing_mm = self.frame.scan_spacing_zyx_mm
            kept = with_cortex_as_seen(values[:, z, y, x], volume[z, y, x], self._spec, spacing_mm)
            decide = training_labels(self._spec)
            labels, box = write_back(
                kept, self.grid, core, self._image, decide, lambda fraction: self._report("resample", fraction)
            )
            if self._hide_lesions:
                labels[labels == ABNORMALITY_LABEL] = TrainingLabel.BACKGROUND
                self.hides_lesions = self.hides_lesions or lie_at_parenchyma(decide(kept))
            found = bounds_of(labels)
            if found is not None:
                place = Box(
                    size3(a + o for a, o in zip(found.start, box.start, strict=True)),
                    size3(b + o for b, o in zip(found.stop, box.start, strict=True)),
                )
                self._parts.append((labels[found.slices].copy(), place))

    def result(self) -> tuple[sitk.Image, tuple[int, int, int]]:
        """All parts on one piece of the scan's grid, and the (x, y, z) index of its first voxel."""
        import SimpleITK as sitk

        with self.timed("resample"):
            size = size3(reversed(self._image.GetSize()))
            whole = Box((0, 0, 0), size)
            for number, (_, place) in enumerate(self._parts):
                whole = place if number == 0 else whole.union(place)
            if self._parts:
                margins = [math.ceil(RESULT_MARGIN_MM / s) for s in self.frame.scan_spacing_mm]
                whole = Box(
                    size3(max(0, a - m) for a, m in zip(whole.start, margins, strict=True)),
                    size3(min(n, b + m) for b, m, n in zip(whole.stop, margins, size, strict=True)),
                )
            array = np.zeros(whole.shape, dtype=np.uint8)
            for labels, place in self._parts:
                target = array[place.within(whole)]
                # Where two regions both see a voxel, the more specific label stays: cortex over medulla.
                np.maximum(target, labels, out=target)
            index = size3(reversed(whole.start))
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(self._image.GetSpacing())
            image.SetDirection(self._image.GetDirection())
            image.SetOrigin(self._image.TransformIndexToPhysicalPoint(index))
            return image, index

    def _report(self, stage: str, fraction: float, message: str = "") -> None:
        looks = 2 if self._second is not None and stage != "resample" else 1
        self._progress.report(stage, self._done + self._share * fraction / looks, message)
