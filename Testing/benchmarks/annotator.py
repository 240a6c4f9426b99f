"""Works like an annotator who makes no mistakes: opens each unreviewed case of a data set in the panel and corrects it.

    python Testing/benchmarks/annotator.py DATA_SET TRUTHS.json

The panel is the real one with the real engine, in the test host: "Next case", painting as Segment Editor's effects
paint (on the segments), "Accept", "Add to data set". ``TRUTHS.json`` names the file with the true labels of each case.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(path) for path in (ROOT, ROOT / "Testing", ROOT / "KidneySeg", ROOT / "Testing" / "panel")]

READER = "script"
#: For anything that the panel waits for.
LIMIT_S = 600.0


class Annotator:
    """The panel, operated.

    Args:
        host: the test host.
        data_set: folder of the data set.
    """

    def __init__(self, host: Any, data_set: Path) -> None:
        self.host = host
        self.widget = host.open_panel("KidneySeg")
        self.ui, self.panel = self.widget.ui, self.widget.panel
        self.review, self.retraining = self.panel.reviewSection, self.panel.retrainingSection
        self.panel.refreshEngineFacts()
        self._wait("the engine", lambda: not self.widget.logic.engine.busy)
        self.ui.datasetLineEdit.text = str(data_set)
        self.retraining.onFolder()
        self._wait_for_engine("the list of cases")

    def correct_all(self, truths: dict[str, Path]) -> int:
        """Correct every case that nobody has reviewed; gives how many there were."""
        done = 0
        while self.ui.nextCaseButton.enabled:
            self.ui.nextCaseButton.click()
            self._wait_for_engine("loading the next case")
            parameters = self.widget._parameterNode
            case_id = parameters.inputVolume.GetName()
            seconds = self._correct(parameters.segmentation, parameters.inputVolume, truths[case_id])
            done += 1
            print(f"{case_id}: corrected and added; {seconds} s by the panel's clock", flush=True)
        return done

    def _correct(self, result: Any, volume: Any, truth_file: Path) -> str:
        import SimpleITK as sitk
        from KidneySegPanel.result_node import SECONDS_SPENT
        from panel_case import labelsInVolume

        truth = np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(truth_file))), np.uint8)
        self.ui.editOutlineRadioButton.click()
        self._paint(result, volume, truth)
        if not np.array_equal(labelsInVolume(result, volume), truth):
            raise SystemExit(f"{volume.GetName()}: what was painted is not what stands in the segments")
        self.ui.reviewerLineEdit.setText(READER)
        self.ui.acceptButton.click()
        self._wait_for_engine("measuring")
        self.ui.addToDatasetButton.click()
        self._wait_for_engine("adding the case")
        return str(result.GetAttribute(SECONDS_SPENT))

    def _paint(self, result: Any, volume: Any, truth: NDArray[np.uint8]) -> None:
        """Put the true structures into their segments, one after the other."""
        import slicer
        from KidneySegPanel.label_segments import LABEL_TAG, ourSegments

        from KidneySegLib.labels import LABELS

        segmentation = result.GetSegmentation()
        present = {int(value) for value in np.unique(truth)}
        for label in LABELS:
            if label.id in present and label not in ourSegments(segmentation):
                segment_id = segmentation.AddEmptySegment(label.key, label.name)
                segmentation.GetSegment(segment_id).SetTag(LABEL_TAG, label.key)
        # Emptied first: segments of one layer must not cover each other meanwhile.
        for wanted in (np.zeros_like(truth), truth):
            for label, segment_id in ourSegments(segmentation).items():
                voxels = (wanted == label.id).astype(np.uint8)
                slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result, segment_id, volume)
        self._wait("the panel to follow", lambda: not self.review._settling)

    def _wait_for_engine(self, what: str) -> None:
        self._wait(
            what,
            lambda: not self.retraining._busy and self.panel.measurementsSection._request is None,
        )

    def _wait(self, what: str, condition: Any) -> None:
        if not self.host.process_events(until=condition, timeout_s=LIMIT_S):
            raise SystemExit(f"{what}: not in {LIMIT_S:.0f} s; the panel says: {self.ui.messageLabel.text}")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    from slicer_host import install

    data_set, truths_file = map(Path, arguments)
    truths = {case_id: Path(path) for case_id, path in json.loads(truths_file.read_text(encoding="utf-8")).items()}
    host = install()
    host.load_module(ROOT / "KidneySeg" / "KidneySeg.py")
    try:
        print(f"{Annotator(host, data_set).correct_all(truths)} cases corrected in the panel", flush=True)
    finally:
        host.unload_module("KidneySeg")
    for error in host.errors:
        print(f"exception in a slot or observer: {error!r}", file=sys.stderr)
    return int(bool(host.errors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
