"""What the user chose, stored in the scene and restored with it."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class KidneySegParameterNode:
    """
    inputVolume - the CT to measure.
    segmentation - the result under review.
    measurements - the measurement table of that result.
    model - name of the model bundle.
    ultrasoundModel - name of the model bundle for ultrasound pictures.
    findLesions - whether a model that shows cysts and masses on request is asked to.
    device - where to compute; "auto" takes the best that is found.
    reviewer - who accepts results.
    caseId - name of the case in tables and reports; the volume's name if empty.
    sex - "", "f" or "m".
    ageYears, heightCm, weightKg, creatinine - 0 means not given.
    creatinineUnit - "mg/dL" or "umol/L".
    patientOf - ID of the volume that the patient data belong to.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    measurements: vtkMRMLTableNode
    model: str = "kidneyseg-arterial"
    ultrasoundModel: str = "kidneyseg-ultrasound-demo"
    findLesions: bool = False
    device: str = "auto"
    reviewer: str = ""
    caseId: str = ""
    sex: str = ""
    ageYears: Annotated[float, WithinRange(0, 120)] = 0.0
    heightCm: Annotated[float, WithinRange(0, 250)] = 0.0
    weightKg: Annotated[float, WithinRange(0, 400)] = 0.0
    creatinine: Annotated[float, WithinRange(0, 3000)] = 0.0
    creatinineUnit: str = "mg/dL"
    patientOf: str = ""
