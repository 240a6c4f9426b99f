"""The real child process with a scripted engine: real pipes, protocol, lifeline and arrays; no model.

A request may carry ``script``: ``{"seconds_per_stage": s, "fault": FAULT, "at": STAGE}``. Without a model, kidneys
are a fixed pair of boxes: parenchyma where HU > 100, cortex where HU > 150. Run as a program, it takes the same
arguments as ``KidneySegLib.worker``. The panel's tests use it too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from KidneySegLib import worker
from KidneySegLib.errors import InputError
from KidneySegLib.labels import LABEL_BY_KEY
from KidneySegLib.progress import STAGES
from KidneySegLib.worker_parts import arrays
from KidneySegLib.worker_parts.commands import Session

COLUMNS = [
    *("case_id", "side", "parenchyma_ml", "cortex_ml", "medulla_ml", "cortex_fraction", "split_percent"),
    *("cyst_ml", "mass_ml", "length_mm", "cortical_thickness_mm", "cortex_hu_mean", "medulla_hu_mean"),
    *("flags", "model", "source"),
]


class ScriptedSession(Session):
    """Answers as the engine does, after as long and with as many faults as the request asks for."""

    def devices(self, request, progress):
        return {"devices": [{"name": "Scripted CPU", "kind": "cpu", "memory_bytes": 8 << 30}]}

    def models(self, request, progress):
        names = ("kidneyseg-arterial", "other-model")
        return {
            "models": [
                {
                    "name": name,
                    "version": "1",
                    "title": name.replace("-", " "),
                    "licence": "Apache-2.0",
                    "citation": "",
                    "intended_use": "tests",
                    "outputs": ["parenchyma", "cortex"],
                    "path": "",
                }
                for name in names
            ]
        }

    def check(self, request, progress):
        arrays.read_image(self.workspace, request["volume"])
        return {"flags": [], "phase": {"phase": "arterial", "reason": "the aorta is brighter than the cortex"}}

    def segment(self, request, progress):
        script = request.get("script") or {}
        image = arrays.read_image(self.workspace, request["volume"])
        for stage in STAGES:
            progress.report(stage, 0.0, "")
            self._commit_fault(script, stage)
            end = time.monotonic() + script.get("seconds_per_stage", 0.0)
            while time.monotonic() < end:
                progress.report(stage, 0.5)
                time.sleep(0.01)
            progress.report(stage, 1.0)
        labels, index = label_boxes(image)
        return self._reply(request, image, labels, index, "automatic")

    def measure(self, request, progress):
        image = arrays.read_image(self.workspace, request["volume"])
        labels = arrays.read_image(self.workspace, request["labels"])
        index = image.TransformPhysicalPointToIndex(labels.GetOrigin())
        return self._reply(request, image, labels, index, request.get("source", "corrected"))

    def _commit_fault(self, script, stage):
        fault = script.get("fault")
        if fault is None or script.get("at") != stage:
            return
        if fault == "input":
            raise InputError("The scan is not good. Choose another.")
        if fault == "bug":
            raise KeyError("a bug")
        if fault == "memory":
            np.ones((1 << 46,), dtype=np.float64)
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "disk":
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            (self.workspace / "results.part").write_bytes(bytes(1 << 16))
        if fault == "child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if fault == "noise":
            print("a library prints on standard output")
            os.system("echo a child prints too")
        if fault == "deaf":
            time.sleep(600)

    def _reply(self, request, image, labels, index, source):
        import SimpleITK as sitk

        voxel_ml = float(np.prod(image.GetSpacing())) / 1000
        counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=16)
        rows, both = [], {column: "" for column in COLUMNS}
        total = {"parenchyma_ml": 0.0, "cortex_ml": 0.0, "medulla_ml": 0.0}
        common = {"case_id": request.get("case_id", "case"), "model": "scripted", "source": source}
        for side in ("right", "left"):
            cortex = counts[LABEL_BY_KEY[f"{side}_cortex"].id] * voxel_ml
            medulla = counts[LABEL_BY_KEY[f"{side}_medulla"].id] * voxel_ml
            if cortex + medulla == 0:
                continue
            values = {"parenchyma_ml": cortex + medulla, "cortex_ml": cortex, "medulla_ml": medulla}
            total = {key: total[key] + values[key] for key in total}
            cells = {key: f"{value:.2f}" for key, value in values.items()}
            rows.append({**{column: "" for column in COLUMNS}, **common, "side": side, **cells})
        flags = [] if rows else ["no_kidney"]
        both.update(common, side="both", flags=";".join(flags))
        if rows:
            both.update({key: f"{value:.2f}" for key, value in total.items()})
        rows.append(both)
        folder = self.workspace / f"results-{request['id']}"
        folder.mkdir()
        (folder / "report.html").write_text("<html><body>scripted report</body></html>", encoding="utf-8")
        return {
            "labels": {
                **arrays.write_image(self.workspace, f"labels-{request['id']}.npy", labels),
                "index": list(index),
            },
            "table": {"columns": COLUMNS, "rows": [[row[column] for column in COLUMNS] for row in rows]},
            "flags": flags,
            "phase": None,
            "provenance": {"model": {"name": "scripted"}, "device": "cpu"},
            "folder": str(folder),
        }


def label_boxes(image):
    """Labels on a sub-grid of the image: the box round all that is brighter than 100 HU, halves by patient side."""
    import SimpleITK as sitk

    hu = sitk.GetArrayViewFromImage(image)
    bright = hu > 100
    if not bright.any():
        return image[0:1, 0:1, 0:1] * 0 == 1, (0, 0, 0)
    corners = [(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(bright)]
    (z0, z1), (y0, y1), (x0, x1) = corners
    box = image[x0:x1, y0:y1, z0:z1]
    values = sitk.GetArrayFromImage(box)
    zz, yy, xx = np.indices(values.shape)
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    world_x = direction[0, 0] * xx + direction[0, 1] * yy + direction[0, 2] * zz
    left = world_x > (world_x[values > 100].min() + world_x[values > 100].max()) / 2
    labels = np.zeros(values.shape, np.uint8)
    cortex = values > 150
    medulla = (values > 100) & ~cortex
    labels[cortex & ~left], labels[medulla & ~left] = 1, 2
    labels[cortex & left], labels[medulla & left] = 3, 4
    result = sitk.GetImageFromArray(labels)
    result.CopyInformation(box)
    return result, (x0, y0, z0)


if __name__ == "__main__":
    status = worker.main(make_session=ScriptedSession)
    sys.stderr.flush()
    os._exit(status)
