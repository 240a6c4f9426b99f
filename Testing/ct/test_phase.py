"""The contrast phase from masks, from the localiser's map, and from nothing but the scan."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.ct import Phase, PhaseEstimate, estimate_phase
from KidneySegLib.ct.phase import classify
from KidneySegLib.ct.phase_samples import HuSamples, sample_labels, sample_overview
from KidneySegLib.errors import Cancelled
from KidneySegLib.flags import FLAGS
from KidneySegLib.labels import OverviewLabel
from KidneySegLib.progress import CancelToken, Progress

#: aorta, cortex, medulla, urine of typical scans
TYPICAL = {
    Phase.UNENHANCED: (40.0, 35.0, 35.0, 5.0),
    Phase.ARTERIAL: (330.0, 230.0, 110.0, 5.0),
    Phase.NEPHROGRAPHIC: (150.0, 190.0, 180.0, 10.0),
    Phase.EXCRETORY: (110.0, 150.0, 145.0, 600.0),
}
SPACING_MM = (1.5, 1.5, 3.0)
SIZE = (200, 150, 40)


class Body:
    """An ellipse of soft tissue with spine, aorta and two kidneys with cortex, medulla and sinus; 20 HU of noise."""

    def __init__(self, aorta: float, cortex: float, medulla: float, urine: float, noise: float = 20.0) -> None:
        z, y, x = (axis * mm for axis, mm in zip(np.indices(SIZE[::-1], np.float32), SPACING_MM[::-1], strict=True))
        x, y, z = x - 150.0, y - 112.5, z - 60.0
        hu = np.full(SIZE[::-1], -1000.0, np.float32)
        labels = np.zeros(SIZE[::-1], np.uint8)
        overview = np.zeros(SIZE[::-1], np.uint8)
        hu[(x / 140) ** 2 + (y / 100) ** 2 < 1] = -100
        hu[(x / 130) ** 2 + (y / 90) ** 2 < 1] = 50
        hu[np.hypot(x - 8, y - 4) < 32] = -100
        spine = np.hypot(x, y - 40)
        hu[(spine < 20) & (np.abs(z % 30 - 15) < 14)] = 130
        hu[(spine < 20) & (spine > 16)] = 350
        hu[(np.abs(x) < 6) & (y > 60) & (y < 85)] = 400
        overview[spine < 20] = OverviewLabel.SPINE
        vessel = np.hypot(x - 8, y - 4) < 11
        hu[vessel], overview[vessel] = aorta, OverviewLabel.AORTA
        for side, ids in ((-1, (1, 2)), (1, (3, 4))):
            radius = np.sqrt(((x - side * 75) / 28) ** 2 + ((y - 35) / 24) ** 2 + (z / 48) ** 2)
            for limit, value, label in ((1.0, cortex, ids[0]), (0.72, medulla, ids[1]), (0.4, urine, 0)):
                hu[radius < limit], labels[radius < limit] = value, label
            overview[(radius < 1) & (radius >= 0.4)] = OverviewLabel.KIDNEY
        hu += np.random.default_rng(0).normal(0, noise, hu.shape).astype(np.float32)
        self.image, self.labels = self._image(hu.astype(np.int16)), self._image(labels)
        coarse = sitk.Image([int(n * mm / 4) for n, mm in zip(SIZE, SPACING_MM, strict=True)], sitk.sitkUInt8)
        coarse.SetSpacing((4.0, 4.0, 4.0))
        coarse.SetOrigin(self.image.GetOrigin())
        self.overview = sitk.Resample(
            self._image(overview), coarse, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor
        )

    @staticmethod
    def _image(values: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING_MM)
        image.SetOrigin((-150.0, -112.5, -400.0))
        return image


@pytest.fixture(scope="module")
def bodies() -> dict[Phase, Body]:
    return {phase: Body(*values) for phase, values in TYPICAL.items()}


@pytest.mark.parametrize("phase", TYPICAL)
class TestWithMasks:
    def test_labels_and_overview(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        body = bodies[phase]
        estimate = estimate_phase(body.image, body.labels, body.overview)
        aorta, cortex, medulla, urine = TYPICAL[phase]
        assert estimate.phase is phase
        assert estimate.aorta_hu == pytest.approx(aorta, abs=5)
        assert estimate.cortex_hu == pytest.approx(cortex, abs=3)
        assert estimate.medulla_hu == pytest.approx(medulla, abs=3)
        assert estimate.collecting_system_hu == pytest.approx(urine, abs=12)
        assert f"aorta {estimate.aorta_hu:.0f} HU" in estimate.reason

    def test_labels_on_a_part_of_the_grid(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        body = bodies[phase]
        part = body.labels[30:170, 60:140, 5:35]
        assert estimate_phase(body.image, part, body.overview).phase is phase

    def test_no_overview(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        body = bodies[phase]
        estimate = estimate_phase(body.image, body.labels, None)
        assert estimate.phase is phase
        assert estimate.aorta_hu is None or estimate.aorta_hu == pytest.approx(TYPICAL[phase][0], abs=25)

    def test_undivided_kidneys(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        body = bodies[phase]
        undivided = sitk.Cast(body.labels > 0, sitk.sitkUInt8) * 13
        estimate = estimate_phase(body.image, undivided, body.overview)
        assert estimate.phase is phase
        assert estimate.cortex_hu is None
        assert "kidney" in estimate.reason

    def test_overview_alone(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        body = bodies[phase]
        estimate = estimate_phase(body.image, None, body.overview)
        # Without masks of the parenchyma nothing is known of the collecting system.
        assert estimate.phase is (Phase.NEPHROGRAPHIC if phase is Phase.EXCRETORY else phase)
        assert estimate.cortex_hu is None

    def test_nothing_but_the_scan(self, bodies: dict[Phase, Body], phase: Phase) -> None:
        estimate = estimate_phase(bodies[phase].image, None, None)
        assert estimate.aorta_hu == pytest.approx(TYPICAL[phase][0], abs=25)
        known = phase in (Phase.UNENHANCED, Phase.ARTERIAL)
        assert estimate.phase is (phase if known else Phase.UNCERTAIN)

    @pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
    def test_any_orientation(self, bodies: dict[Phase, Body], phase: Phase, order: tuple[int, ...]) -> None:
        turned = sitk.PermuteAxes(sitk.Flip(bodies[phase].image, [True, False, True]), order)
        labels = sitk.PermuteAxes(sitk.Flip(bodies[phase].labels, [True, False, True]), order)
        assert estimate_phase(turned, labels, None).phase is phase


class TestSamples:
    def test_medians_do_not_mind_neighbours(self, bodies: dict[Phase, Body]) -> None:
        body = bodies[Phase.ARTERIAL]
        labels = sitk.GetArrayFromImage(body.labels)
        grown = sitk.GetImageFromArray(np.where(np.roll(labels, 1, axis=2) > 0, np.maximum(labels, 1), labels))
        grown.CopyInformation(body.labels)
        assert sample_labels(body.image, grown).cortex == pytest.approx(230, abs=10)

    def test_empty_maps(self, bodies: dict[Phase, Body]) -> None:
        body = bodies[Phase.ARTERIAL]
        assert sample_labels(body.image, body.labels * 0) == HuSamples()
        assert sample_overview(body.image, body.overview * 0) == HuSamples()

    def test_a_few_voxels_say_nothing(self, bodies: dict[Phase, Body]) -> None:
        body = bodies[Phase.ARTERIAL]
        few = body.labels * 0
        few[60, 90, 20] = 1
        assert sample_labels(body.image, few).cortex is None

    def test_sources_are_not_mixed(self) -> None:
        labels = HuSamples(cortex=200.0)
        overview = HuSamples(aorta=300.0, cortex=150.0, medulla=140.0)
        assert labels.or_else(overview) == overview


class TestClassify:
    @pytest.mark.parametrize(
        ("samples", "phase", "flags"),
        [
            (HuSamples(), Phase.UNCERTAIN, ("phase_uncertain",)),
            (HuSamples(aorta=40, kidney=35, cortex=36, medulla=34), Phase.UNENHANCED, ("phase_unenhanced",)),
            (HuSamples(kidney=35), Phase.UNENHANCED, ("phase_unenhanced",)),
            (HuSamples(aorta=40), Phase.UNENHANCED, ("phase_unenhanced",)),
            (HuSamples(aorta=300, kidney=180, cortex=230, medulla=110), Phase.ARTERIAL, ()),
            (HuSamples(kidney=180, cortex=230, medulla=110), Phase.ARTERIAL, ()),
            # Chronic kidney disease: a clear bolus, kidneys that hardly take it up. Warned of, not refused.
            (
                HuSamples(aorta=320, kidney=90, cortex=100, medulla=75),
                Phase.ARTERIAL,
                ("low_corticomedullary_contrast",),
            ),
            (HuSamples(aorta=150, kidney=185, cortex=190, medulla=180), Phase.NEPHROGRAPHIC, ("phase_nephrographic",)),
            (HuSamples(aorta=150, kidney=185), Phase.NEPHROGRAPHIC, ("phase_nephrographic",)),
            (
                HuSamples(aorta=110, kidney=150, cortex=152, medulla=148, collecting=500),
                Phase.EXCRETORY,
                ("phase_excretory",),
            ),
            # A stone in the arterial phase is no excreted contrast.
            (HuSamples(aorta=300, kidney=180, cortex=230, medulla=110, collecting=900), Phase.ARTERIAL, ()),
            # Late, but not even yet: no phase has a name for it, and the border is no better for that.
            (
                HuSamples(aorta=170, kidney=160, cortex=170, medulla=140),
                Phase.UNCERTAIN,
                ("phase_uncertain", "low_corticomedullary_contrast"),
            ),
            (HuSamples(aorta=130, kidney=160, cortex=190, medulla=120), Phase.UNCERTAIN, ("phase_uncertain",)),
            # Blood no brighter than cortex: a mass may have been taken for medulla. A real difference is larger.
            (
                HuSamples(aorta=178, kidney=180, cortex=192, medulla=144),
                Phase.ARTERIAL,
                ("low_corticomedullary_contrast",),
            ),
            (HuSamples(aorta=161, kidney=140, cortex=165, medulla=93), Phase.ARTERIAL, ()),
            (HuSamples(aorta=300, kidney=140, cortex=165, medulla=117), Phase.ARTERIAL, ()),
            (HuSamples(aorta=100, kidney=90), Phase.UNCERTAIN, ("phase_uncertain",)),
        ],
    )
    def test_table(self, samples: HuSamples, phase: Phase, flags: tuple[str, ...]) -> None:
        estimate = classify(samples)
        assert (estimate.phase, estimate.flags) == (phase, flags)

    optional = st.none() | st.floats(-200, 1500)

    @given(
        st.builds(HuSamples, aorta=optional, kidney=optional, cortex=optional, medulla=optional, collecting=optional)
    )
    def test_anything_gives_a_phase_known_flags_and_a_sentence(self, samples: HuSamples) -> None:
        estimate = classify(samples)
        assert set(estimate.flags) <= FLAGS.keys()
        assert estimate.reason.endswith(".")
        assert (estimate.phase is Phase.ARTERIAL) == (not any(flag.startswith("phase_") for flag in estimate.flags))


class TestOddScans:
    @pytest.mark.parametrize("value", [-1000, 0, 300])
    def test_nothing_in_it(self, value: int) -> None:
        image = sitk.Image(60, 60, 40, sitk.sitkInt16) + value
        assert isinstance(estimate_phase(image, None, None), PhaseEstimate)

    @pytest.mark.parametrize("size", [(5, 5, 5), (200, 5, 5), (5, 200, 9), (30, 30, 5)])
    def test_tiny(self, size: tuple[int, int, int]) -> None:
        image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 300, size[::-1]).astype(np.int16))
        image.SetSpacing((2.0, 2.0, 2.0))
        assert estimate_phase(image, None, None).phase in Phase

    def test_overview_beside_the_scan(self, bodies: dict[Phase, Body]) -> None:
        body = bodies[Phase.ARTERIAL]
        body.overview.SetOrigin((5000.0, 0.0, 0.0))
        assert isinstance(estimate_phase(body.image, None, body.overview), PhaseEstimate)
        body.overview.SetOrigin(body.image.GetOrigin())

    def test_cancel(self, bodies: dict[Phase, Body]) -> None:
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            estimate_phase(bodies[Phase.ARTERIAL].image, None, None, Progress(token=token))

    def test_a_bright_guess_beside_unenhanced_kidneys_does_not_count(
        self, bodies: dict[Phase, Body], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = bodies[Phase.UNENHANCED]
        monkeypatch.setattr("KidneySegLib.ct.aorta.find_aorta_hu", lambda _: 260.0)
        assert estimate_phase(body.image, body.labels, None).phase is Phase.UNENHANCED
