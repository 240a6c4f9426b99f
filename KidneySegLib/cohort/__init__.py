"""Many cases: on one machine or a Dask cluster, resumable, one table.

What is true of a case stands in exactly one place, its results folder ``OUT/cases/CASE/`` or, where it failed, a
small file in ``OUT/failures/``; ``OUT/volumes.csv`` and ``OUT/summary.html`` can always be made again from these.
"""

from __future__ import annotations

from KidneySegLib.cohort.batch import BatchResult, run_batch
from KidneySegLib.cohort.settings import BatchSettings
from KidneySegLib.cohort.throughput import BatchState

__all__ = ["BatchResult", "BatchSettings", "BatchState", "run_batch"]
