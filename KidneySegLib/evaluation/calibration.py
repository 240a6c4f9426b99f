"""Whether a result's own doubts are right: sides, the flag of missing contrast, the traffic light."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from KidneySegLib.evaluation.case import CaseResult
from KidneySegLib.evaluation.sides import VERDICTS
from KidneySegLib.flags import FLAGS
from KidneySegLib.measurement.uncertainty import GREEN, WEAK_CONTRAST_FLAGS

#: A result says that cortex and medulla cannot be told (well) apart if it carries one of these.
NO_CONTRAST_FLAGS = (*WEAK_CONTRAST_FLAGS, "undivided_parenchyma")
#: A mask is good from this Dice on (the project's own measure of a usable mask), poor below that one.
GOOD_DICE, POOR_DICE = 0.93, 0.90


def side_counts(cases: Iterable[CaseResult]) -> dict[str, int]:
    """Cases of each verdict of `sides.VERDICTS`, those that occur."""
    said = [case.side_verdict for case in cases if not case.error]
    return {verdict: said.count(verdict) for verdict in VERDICTS if verdict in said}


@dataclass(frozen=True)
class FlagRate:
    """How often cases carry a flag.

    Attributes:
        group: contrast phase of the phantoms, or ``all``.
        flag: key, or ``no_corticomedullary_contrast`` for any of `NO_CONTRAST_FLAGS`.
        raised, cases: counts.
    """

    group: str
    flag: str
    raised: int
    cases: int

    @property
    def rate(self) -> float:
        return self.raised / self.cases


def flag_rates(cases: Sequence[CaseResult]) -> tuple[FlagRate, ...]:
    """Rates of the flags of missing contrast first, then of every flag that was raised; by phase where known.

    Cases whose prediction says nothing of flags do not count.
    """
    told = [case for case in cases if not case.error and case.result.flags is not None]
    by_group: dict[str, list[CaseResult]] = {}
    for case in told:
        if case.phantom is not None:
            by_group.setdefault(case.phantom.phase, []).append(case)
    groups = {group: by_group[group] for group in sorted(by_group)}
    if told:
        groups["all"] = told
    raised_anywhere = {key for case in told for key in case.result.flags or ()}
    rates = []
    for group, members in groups.items():
        any_of = sum(bool(set(NO_CONTRAST_FLAGS) & set(case.result.flags or ())) for case in members)
        rates.append(FlagRate(group, "no_corticomedullary_contrast", any_of, len(members)))
        for key in FLAGS:
            if key in raised_anywhere:
                count = sum(key in (case.result.flags or ()) for case in members)
                rates.append(FlagRate(group, key, count, len(members)))
    return tuple(rates)


@dataclass(frozen=True)
class LightCalibration:
    """What the traffic light is worth, against the Dice of parenchyma; a share is None where nothing is counted.

    Attributes:
        counts: cases of each colour.
        green_share: green among all cases that have a light.
        good_among_green: of the green ones, those with Dice >= `GOOD_DICE`.
        green_among_poor: green among those with Dice < `POOR_DICE`.
        n_poor: cases with Dice < `POOR_DICE`.
        dice_by_light: Dice of each colour's cases.
    """

    counts: dict[str, int]
    green_share: float | None
    good_among_green: float | None
    green_among_poor: float | None
    n_poor: int
    dice_by_light: dict[str, tuple[float, ...]]


def light_calibration(cases: Sequence[CaseResult]) -> LightCalibration | None:
    """The traffic light of cases whose parenchyma was scored; None if no case has one."""
    known = [
        (case.result.traffic_light, dice)
        for case in cases
        if case.result.traffic_light and (dice := case.value("parenchyma", "dice")) is not None
    ]
    if not known:
        return None
    green = [dice for light, dice in known if light == GREEN]
    poor = [light for light, dice in known if dice < POOR_DICE]
    lights = sorted({light for light, _ in known}, key=lambda light: (light != GREEN, light != "yellow", light))
    return LightCalibration(
        counts={light: sum(other == light for other, _ in known) for light in lights},
        green_share=len(green) / len(known),
        good_among_green=sum(dice >= GOOD_DICE for dice in green) / len(green) if green else None,
        green_among_poor=poor.count(GREEN) / len(poor) if poor else None,
        n_poor=len(poor),
        dice_by_light={light: tuple(dice for other, dice in known if other == light) for light in lights},
    )
