"""The growing data set: cases that people corrected, kept for training. Nothing in it is ever overwritten.

``DATASET/dataset.json`` (written once), ``private.key`` (makes case names; not for sharing) and a folder a case::

    cases/case_0a1b2c3d4e5f/case.json, image.nii.gz
    cases/case_0a1b2c3d4e5f/revisions/0001/revision.json, labels.nii.gz, automatic.nii.gz, uncertainty.nii.gz

There is no list of cases that could disagree with the folders: the folders are the list. A case and a revision each
appear by one rename of a folder that is whole.
"""

from __future__ import annotations

from KidneySegLib.export.dataset.dataset import DEIDENTIFICATION_NOTICE, Added, Addition, DataSet
from KidneySegLib.export.dataset.records import DataSetCase, Origin, Revision, Split, Status
from KidneySegLib.export.dataset.training_labels import training_labels

__all__ = [
    "DEIDENTIFICATION_NOTICE",
    "Added",
    "Addition",
    "DataSet",
    "DataSetCase",
    "Origin",
    "Revision",
    "Split",
    "Status",
    "training_labels",
]
