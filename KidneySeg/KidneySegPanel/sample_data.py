"""The sample case in Slicer's Sample Data module: made on this computer by the phantom, nothing is downloaded."""

from pathlib import Path

import slicer
from slicer.i18n import tr as _

SAMPLE_NAME = "KidneySegSampleCT"
NODE_NAME = "KidneySeg sample CT"


def registerSampleData():
    """Add the sample case to the Sample Data module."""
    import SampleData

    thumbnail = Path(__file__).resolve().parent.parent / "Resources" / "Icons" / "KidneySegSampleCT.png"
    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):  # since 3D Slicer 5.11
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("KidneySeg", title=_("KidneySeg"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="KidneySeg",
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(thumbnail),
        uris=[],
        fileNames=[],
        nodeNames=[],
        checksums=[],
        loadFiles=[],
        loadFileTypes=[],
        customDownloader=makeSampleForSampleData,
    )


def makeSampleForSampleData(_source=None):
    """Make and load the sample case; waits until it is there. Returns the loaded nodes."""
    from KidneySeg import KidneySegLogic
    from KidneySegPanel.packages import installPackages

    if not installPackages():
        raise RuntimeError(_("The sample case is made by KidneySeg's engine, whose packages are not installed."))
    logic = KidneySegLogic()
    made, failed = [], []
    logic.makeSample(made.append, failed.append)
    try:
        logic.wait(lambda: made or failed)
    finally:
        logic.engine.end()
    if failed:
        raise RuntimeError(failed[0]["message"])
    return made


def loadSample(path):
    """Load the file that the engine made; the node forgets the temporary file."""
    node = slicer.util.loadVolume(str(path), properties={"name": NODE_NAME, "show": False})
    storage = node.GetStorageNode()
    node.SetAndObserveStorageNodeID(None)
    if storage is not None:
        slicer.mrmlScene.RemoveNode(storage)
    return node
