"""Judging masks: overlap, surfaces, volumes, agreement, groups of patients, and several readers made one.

``pairing`` finds the cases, ``maps`` puts two label maps on one grid, ``case`` scores them, ``cohort`` all of them;
``evaluate`` writes what follows. SimpleITK, numpy and scipy only: none of it needs torch.
"""

from __future__ import annotations

from KidneySegLib.evaluation.evaluate import Evaluation, evaluate_cohort

__all__ = ["Evaluation", "evaluate_cohort"]
