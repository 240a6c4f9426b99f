"""A cohort: all cases scored, in several processes if wished, and what follows from all of them together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.case import CaseResult, Settings, score_case
from KidneySegLib.evaluation.metrics import Metric, metrics
from KidneySegLib.evaluation.pairing import CasePaths, Pairing
from KidneySegLib.evaluation.statistics import Summary, summarise
from KidneySegLib.evaluation.targets import HIERARCHICAL, Target
from KidneySegLib.labels import Structure
from KidneySegLib.progress import Progress

#: Fewer cases than this are not worth starting processes for.
_CASES_PER_JOB = 4
_LESIONS = {Structure.CYST, Structure.MASS}


@dataclass(frozen=True)
class Cohort:
    """All that was scored.

    Attributes:
        settings: how.
        cases: one each, by name; those that failed say why.
        pairing: what was found, and what was missing.
        not_scored: structures that no case was scored in, each with the reason.
        groupings: name of a grouping to {case id: group}; a case may be in none.
        notes: sentences about what could not be done.
    """

    settings: Settings
    cases: tuple[CaseResult, ...]
    pairing: Pairing
    not_scored: dict[str, str]
    groupings: dict[str, dict[str, str]]
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[CaseResult, ...]:
        return tuple(case for case in self.cases if not case.error)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Structures that at least one case was scored in."""
        return tuple(target for target in self.settings.targets if target.key not in self.not_scored)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        hierarchical = any(target in HIERARCHICAL for target in self.settings.targets)
        found = metrics(self.settings.tolerances_mm, hierarchical=hierarchical)
        from KidneySegLib.evaluation.surface import IMPLEMENTATION

        return tuple(m for m in found if self.settings.surfaces or m.implementation != IMPLEMENTATION)

    def summary(self, structure: str, metric: str, case_ids: Sequence[str] | None = None) -> Summary:
        """A metric of a structure over all cases, or over some; cases that were not scored in it do not count."""
        wanted = None if case_ids is None else set(case_ids)
        return summarise(
            score.values.get(metric)
            for case in self.scored
            if wanted is None or case.case_id in wanted
            for score in case.scores
            if score.structure == structure
        )

    def groups(self, grouping: str) -> dict[str, list[str]]:
        """Case ids of each group, groups in a natural order."""
        found: dict[str, list[str]] = {}
        for case in self.scored:
            group = self.groupings[grouping].get(case.case_id)
            if group:
                found.setdefault(group, []).append(case.case_id)
        return {group: found[group] for group in sorted(found, key=_natural)}


def score_cohort(
    pairing: Pairing, settings: Settings, *, jobs: int | None = None, progress: Progress = Progress()
) -> tuple[tuple[CaseResult, ...], dict[str, str]]:
    """Score all cases; one that fails stops no other.

    Args:
        pairing: what to score.
        settings: how.
        jobs: processes; None takes one a processor, where there are enough cases. A script that calls this with
            more than one needs Python's usual ``if __name__ == "__main__"``, since it is imported by each.
        progress: stage ``score``.

    Returns:
        The cases by name, and the structures that were scored in none, with reasons.

    Raises:
        InputError: not one case could be scored.
    """
    results: dict[str, CaseResult] = {}
    for result in _results(pairing.cases, settings, jobs, progress):
        results[result.case_id] = result
        progress.report("score", len(results) / len(pairing.cases), result.case_id)
    cases = tuple(results[paths.case_id] for paths in pairing.cases)
    scored = [case for case in cases if not case.error]
    if not scored:
        count = "The only case" if len(cases) == 1 else f"None of the {len(cases)} cases"
        verb = "could not" if len(cases) == 1 else "could"
        raise InputError(f"{count} {verb} be scored. {cases[0].case_id}: {cases[0].error}")
    dropped = _not_scored(scored, settings)
    return tuple(_without(case, dropped) for case in cases), dropped


def _results(
    cases: Sequence[CasePaths], settings: Settings, jobs: int | None, progress: Progress
) -> Iterator[CaseResult]:
    """Results as they come."""
    if jobs is None:
        jobs = min(_processors(), 8, len(cases) // _CASES_PER_JOB)
    jobs = min(jobs, len(cases))
    if jobs <= 1:
        for paths in cases:
            progress.check()
            yield score_case(paths, settings)
        return
    # "spawn" is the one way of starting processes that is safe beside threads and the same on every system.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent)
    try:
        waiting: dict[Future[CaseResult], CasePaths] = {
            pool.submit(partial(score_case, paths, settings)): paths for paths in cases
        }
        while waiting:
            done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            progress.check()
            for future in done:
                yield _result(future, waiting.pop(future))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal; the parent stops the others without their tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(future: Future[CaseResult], paths: CasePaths) -> CaseResult:
    try:
        return future.result()
    except BrokenProcessPool:
        return CaseResult(
            paths.case_id, "The process that scored it ended early, perhaps for lack of memory. Try --jobs 1."
        )


def _not_scored(scored: Sequence[CaseResult], settings: Settings) -> dict[str, str]:
    """Structures that are in no case's scores, or that one side never holds: then it was not asked for."""
    reasons: dict[str, str] = {}
    for target in settings.targets:
        scores = [score for case in scored for score in case.scores if score.structure == target.key]
        if not scores:
            said = [case.not_scored[target.key] for case in scored if target.key in case.not_scored]
            reasons[target.key] = f"in every case {max(set(said), key=said.count)}" if said else "no case holds it"
            continue
        in_reference = any(score.overlap.tp + score.overlap.fn for score in scores)
        in_prediction = any(score.overlap.tp + score.overlap.fp for score in scores)
        if not in_reference and not in_prediction:
            reasons[target.key] = "neither references nor predictions hold any"
        elif not in_reference and target.key not in ("parenchyma", "kidney_and_masses"):
            reasons[target.key] = "no reference of the cohort holds any"
        elif not in_prediction and _may_be_unknown_to_model(target, settings):
            reasons[target.key] = "no prediction of the cohort holds any (its Dice would be 0)"
    return reasons


def _may_be_unknown_to_model(target: Target, settings: Settings) -> bool:
    """Whether predictions without it may come from a model that does not look for it."""
    return set(target.structures) <= _LESIONS or (
        settings.prediction_scheme == "training" and target.structures == (Structure.CORTEX,)
    )


def _without(case: CaseResult, dropped: dict[str, str]) -> CaseResult:
    kept = tuple(score for score in case.scores if score.structure not in dropped)
    return replace(case, scores=kept, not_scored={**case.not_scored, **dropped} if not case.error else {})


def phantom_groupings(cases: Sequence[CaseResult]) -> dict[str, dict[str, str]]:
    """Groupings that phantoms bring with them: variant, phase, slice thickness."""
    found: dict[str, dict[str, str]] = {"variant": {}, "phase": {}, "slice thickness": {}}
    for case in cases:
        if case.phantom is not None:
            found["variant"][case.case_id] = case.phantom.variant
            found["phase"][case.case_id] = case.phantom.phase
            found["slice thickness"][case.case_id] = case.phantom.slice_bin
    return {name: groups for name, groups in found.items() if groups}


def _natural(group: str) -> tuple[int, str]:
    order = (
        "normal", "mild", "moderate", "severe", "G1", "G2", "G3a", "G3b", "G4", "G5",
        "<= 1 mm", "> 1 to 2 mm", "> 2 to 3 mm", "> 3 to 5 mm", "> 5 mm",
    )  # fmt: skip
    return (order.index(group) if group in order else len(order), group)


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def output_conflict(output: Path, *inputs: Path) -> str:
    """Why an output folder must not be taken: it is one of the inputs. Empty if it may."""
    target = Path(os.path.realpath(output))
    for path in inputs:
        if target == Path(os.path.realpath(path)):
            return f"The output {output} is the same folder as an input. Choose another with -o."
    return ""
