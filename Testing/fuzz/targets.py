"""What damaged input is given to: each target damages one of its own good files and reads it as the program does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from Testing.ct.dicom_series import SeriesSpec, write_enhanced, write_series
from Testing.fuzz import mutations

_SMALL = SeriesSpec(rows=16, columns=16, positions_mm=tuple(3.0 * i for i in range(6)), pixel_mm=(3.0, 3.0))
Target = Callable[[random.Random], None]


class Targets:
    """All targets, with their good files in a folder.

    Args:
        folder: for good and damaged files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._series = self._read_all(write_series(folder / "series", _SMALL))
        jpeg = "1.2.840.10008.1.2.4.90"
        self._packed = self._read_all(write_series(folder / "packed", _SMALL, rows=36, columns=40, syntax=jpeg))
        enhanced = write_enhanced(folder / "enhanced" / "all.dcm", _SMALL)
        self._enhanced = self._read_all([enhanced])
        self._images = self._image_files(folder)
        self._manifest, self._model_files = _bundle()
        self._count = 0

    def all(self) -> dict[str, tuple[Target, int]]:
        """Name, target, and its share of all mutations in thousandths."""
        return {
            "dicom_series": (lambda rng: self._dicom(rng, self._series), 330),
            "dicom_jpeg2000": (lambda rng: self._dicom(rng, self._packed), 70),
            "dicom_enhanced": (lambda rng: self._dicom(rng, self._enhanced), 100),
            "dicom_zip": (self._dicom_zip, 40),
            "nifti": (lambda rng: self._nifti(rng, False), 220),
            "nifti_gz": (lambda rng: self._nifti(rng, True), 100),
            "nrrd": (lambda rng: self._text_image(rng, "scan.nrrd"), 30),
            "mha": (lambda rng: self._text_image(rng, "scan.mha"), 30),
            "model_json": (self._model_json, 30),
            "model_zip": (self._model_zip, 20),
            "case_list": (self._case_list, 10),
            "worker_lines": (self._worker_line, 20),
        }

    def _read_all(self, paths: list[Path]) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in paths}

    def _image_files(self, folder: Path) -> dict[str, bytes]:
        hu = np.random.default_rng(1).integers(-900, 400, (6, 12, 14)).astype(np.int16)
        image = sitk.GetImageFromArray(hu)
        image.SetSpacing((2.5, 2.5, 4.0))
        found = {}
        for name in ("scan.nii", "scan.nrrd", "scan.mha"):
            sitk.WriteImage(image, str(folder / name))
            found[name] = (folder / name).read_bytes()
        floats = sitk.Cast(image, sitk.sitkFloat32)
        sitk.WriteImage(floats, str(folder / "float.nii"))
        found["float.nii"] = (folder / "float.nii").read_bytes()
        return found

    def _place(self) -> Path:
        """A fresh name; old ones are removed now and then."""
        self._count += 1
        place = self._folder / "damaged"
        place.mkdir(exist_ok=True)
        return place

    def _read(self, path: Path) -> None:
        from KidneySegLib.ct import list_series, read_ct

        read_ct(path)
        if self._count % 16 == 0:
            list_series(path)

    def _dicom(self, rng: random.Random, files: dict[str, bytes]) -> None:
        folder = self._place() / "dicom"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        names = sorted(files)
        # The same damage in all files is what a bad exporter does; in one file, what a bad disk does.
        victims = names if rng.random() < 0.4 else [rng.choice(names)]
        seed = rng.getrandbits(32)
        for name in names:
            data = files[name]
            if name in victims:
                data = mutations.dicom(data, random.Random(seed), data.find(b"\xe0\x7f\x10\x00"))
            (folder / name).write_bytes(data)
        self._read(folder)

    def _dicom_zip(self, rng: random.Random) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in self._series.items():
                info = zipfile.ZipInfo(
                    rng.choice((name, name, name, "../" + name, "/" + name, "a\\..\\" + name, "x" * 300))
                )
                if rng.random() < 0.1:
                    info.external_attr = 0o120777 << 16
                info.compress_type = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
                archive.writestr(info, data)
        path = self._place() / "study.zip"
        path.write_bytes(mutations.blind(packed.getvalue(), rng) if rng.random() < 0.8 else packed.getvalue())
        self._read(path)

    def _nifti(self, rng: random.Random, packed: bool) -> None:
        data = self._images[rng.choice(("scan.nii", "scan.nii", "float.nii"))]
        path = self._place() / ("scan.nii.gz" if packed else "scan.nii")
        if packed and rng.random() < 0.02:
            # A bomb: the header tells of little, 256 MiB of zeros follow.
            path.write_bytes(gzip.compress(data, 1) + gzip.compress(bytes(1 << 20), 6) * 256)
        else:
            path.write_bytes(mutations.nifti(data, rng, packed))
        self._read(path)

    def _text_image(self, rng: random.Random, name: str) -> None:
        data = self._images[name]
        end = data.find(b"\n\n") if name.endswith(".nrrd") else data.find(b"LOCAL") + 5
        path = self._place() / name
        path.write_bytes(mutations.text_header(data, rng, max(end, 64)))
        self._read(path)

    def _model_json(self, rng: random.Random) -> None:
        from KidneySegLib.models.manifest import parse_manifest

        text = mutations.json_text(self._manifest, rng).decode("utf-8", "replace")
        parse_manifest(text, self._folder)

    def _model_zip(self, rng: random.Random) -> None:
        from KidneySegLib.models import import_bundle

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in self._model_files.items():
                wrong = rng.random()
                if name == "model.json" and wrong < 0.4:
                    data = mutations.json_text(self._manifest, rng)
                elif wrong < 0.1:
                    data = mutations.blind(data, rng)
                info = zipfile.ZipInfo(rng.choice((name, name, name, "../" + name, "/etc/" + name, "m/" + name)))
                if rng.random() < 0.1:
                    info.external_attr = 0o120777 << 16
                archive.writestr(info, data)
        path = self._place() / "model.zip"
        path.write_bytes(mutations.blind(packed.getvalue(), rng) if rng.random() < 0.4 else packed.getvalue())
        import_bundle(path, replace=True)

    def _case_list(self, rng: random.Random) -> None:
        from KidneySegLib.cohort.cases import find_cases

        good = b"case_id,path,sex,age,creatinine,creatinine_unit\none,scan.nii,f,60,1.0,mg/dL\ntwo,x/y,m,,,\n"
        path = self._place() / "cohort.csv"
        path.write_bytes(mutations.blind(good, rng))
        find_cases(path, self._folder / "out")

    def _worker_line(self, rng: random.Random) -> None:
        from KidneySegLib.progress import Progress
        from KidneySegLib.worker_parts import protocol
        from KidneySegLib.worker_parts.commands import Session
        from KidneySegLib.worker_parts.request_forms import check_fields

        workspace = self._folder / "workspace"
        workspace.mkdir(exist_ok=True)
        if not (workspace / "v.npy").exists():
            np.save(workspace / "v.npy", np.zeros((6, 6, 6), np.int16), allow_pickle=False)
        volume = {
            "array": "v.npy",
            "spacing_mm": [1, 1, 2],
            "origin_mm": [0, 0, 0],
            "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1],
            "slice_thickness_mm": 5,
            "flags": [],
            "acquisition": {},
        }
        good: dict[str, Any] = {
            "id": 1,
            "command": "measure",
            "volume": volume,
            "labels": volume,
            "patient": {"sex": "f"},
        }
        request = protocol.decode(mutations.json_text(good, rng) + b"\n")
        _, command = protocol.check_request(request)
        check_fields(request)
        if command == "measure":
            Session(workspace).obey(command, request, Progress())


def _bundle() -> tuple[dict[str, Any], dict[str, bytes]]:
    """A bundle's manifest and files; its network is not one, and importing never loads it."""
    from KidneySegLib.models import BundleSpec, Normalisation
    from KidneySegLib.models.bundle import FoldFiles, manifest_of

    files = {"weights.safetensors": b"w" * 64, "network.xml": b"<net/>", "network.bin": b"b" * 64}
    spec = BundleSpec(
        name="fuzzed",
        version="1",
        title="t",
        licence="Apache-2.0",
        citation="",
        intended_use="Tests",
        network="UNet3D",
        network_arguments={"in_channels": 1, "out_channels": 2, "features": [2, 2]},
        spacing_mm=(1.0, 1.0, 1.0),
        patch_size=(32, 32, 32),
        size_multiple=(2, 2, 2),
        normalisation=Normalisation(-300.0, 500.0, 100.0, 100.0),
        outputs=("parenchyma", "cortex"),
        activation="sigmoid",
    )
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = manifest_of(spec, [FoldFiles.for_fold(0)], hashes)
    return manifest, {"model.json": json.dumps(manifest).encode(), **files}
