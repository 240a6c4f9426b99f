"""The phantom patients that a set of cases is made of: kinds of patient in turn, contrast phases round by round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from KidneySegLib.phantom.scene import Scene, sample_scene

PHASES = ("arterial", "nephrographic")


def sample_patients(
    seed: int, cases: int, variants: Sequence[str], wanted: Callable[[Scene], bool] | None = None
) -> Iterator[Scene]:
    """So many patients from a seed on, the same in every process; those that are not wanted are passed over."""
    made = 0
    while made < cases:
        variant, phase = variants[made % len(variants)], PHASES[made // len(variants) % len(PHASES)]
        scene = sample_scene(seed, variant=variant, phase=phase)
        if wanted is None or wanted(scene):
            yield scene
            made += 1
        seed += 1


def case_name(scene: Scene) -> str:
    """Name of a patient's folder."""
    return f"{scene.variant}_{scene.seed:06d}"
