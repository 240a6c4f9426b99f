"""What is asked of the engine for a case, and how its answer comes back into the scene."""

import numpy as np

from KidneySegLib.worker_parts.arrays import array_path


def patientFields(parameters):
    """Patient data of the parameter node as the engine's protocol has them; what is not given is None."""
    return {
        "sex": parameters.sex or None,
        "age_years": parameters.ageYears or None,
        "height_cm": parameters.heightCm or None,
        "weight_kg": parameters.weightKg or None,
        "creatinine": parameters.creatinine or None,
        "creatinine_unit": parameters.creatinineUnit,
    }


def caseId(parameters, volumeNode):
    """The user's name of the case, else the volume's name. Never a patient's number: DICOM gives neither here."""
    return parameters.caseId.strip() or (volumeNode.GetName() or "case")


def readReplyLabels(workspace, reply):
    """Labels of a ``result`` message.

    :return: (z, y, x) uint8 in memory of their own, and the (x, y, z) index of their first voxel.
    """
    path = array_path(workspace, reply["labels"]["array"])
    labels = np.array(np.load(path, allow_pickle=False), dtype=np.uint8)
    path.unlink(missing_ok=True)
    return labels, tuple(int(value) for value in reply["labels"]["index"])
