"""A real DICOM server, Orthanc, started on free ports with a configuration and a store of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

OUR_TITLE, THEIR_TITLE = "KIDNEYSEG", "ORTHANC"


def program() -> str | None:
    """Where Debian's package ``orthanc`` puts it, or wherever it is on the path."""
    debian = Path("/usr/sbin/Orthanc")
    return str(debian) if debian.exists() else shutil.which("Orthanc")


@dataclass(frozen=True)
class Orthanc:
    """A running server.

    Attributes:
        dicom_port: for DICOM.
        http_port: for its REST interface.
    """

    dicom_port: int
    http_port: int

    def rest(self, path: str) -> Any:
        """What the REST interface answers, from JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def store(self, files: Iterable[Path]) -> list[int]:
        """Send files with C-STORE. Returns the status of each."""
        from pynetdicom import AE

        datasets = [dcmread(path) for path in files]
        entity = AE(OUR_TITLE)
        for sop_class, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}:
            entity.add_requested_context(sop_class, syntax)
        association = entity.associate("127.0.0.1", self.dicom_port, ae_title=THEIR_TITLE)
        assert association.is_established
        try:
            return [association.send_c_store(one).Status for one in datasets]
        finally:
            association.release()

    def fetch(self, folder: Path, sop_class: str, series_uid: str) -> list[Path]:
        """Get a series back with C-GET, each object as a file."""
        from pynetdicom import AE, build_role, evt
        from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet  # type: ignore[attr-defined]

        folder.mkdir(parents=True)
        files: list[Path] = []

        def keep(event: Any) -> int:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            path = folder / f"{dataset.SOPInstanceUID}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            files.append(path)
            return 0x0000

        entity = AE(OUR_TITLE)
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        entity.add_requested_context(sop_class)
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "SERIES"
        wanted.SeriesInstanceUID = series_uid
        wanted.StudyInstanceUID = self.study_of(series_uid)
        association = entity.associate(
            "127.0.0.1",
            self.dicom_port,
            ae_title=THEIR_TITLE,
            ext_neg=[build_role(sop_class, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        assert association.is_established
        try:
            for status, _ in association.send_c_get(wanted, StudyRootQueryRetrieveInformationModelGet):
                assert status.Status in (0x0000, 0xFF00), hex(status.Status)
        finally:
            association.release()
        return files

    def series(self) -> list[dict[str, Any]]:
        """What it holds."""
        return [self.rest(f"/series/{one}") for one in self.rest("/series")]

    def study_of(self, series_uid: str) -> str:
        """The StudyInstanceUID of a series."""
        (found,) = (one for one in self.series() if one["MainDicomTags"]["SeriesInstanceUID"] == series_uid)
        return str(self.rest(f"/studies/{found['ParentStudy']}")["MainDicomTags"]["StudyInstanceUID"])


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start a server; at the end it is stopped."""
    executable = program()
    assert executable is not None
    folder.mkdir(parents=True)
    http_port, dicom_port = _free_ports(2)
    configuration = {
        "Name": "KidneySeg test",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": THEIR_TITLE,
        "DicomPort": dicom_port,
        "DicomModalities": {"us": {"AET": OUR_TITLE, "Host": "127.0.0.1", "Port": 1, "AllowGet": True}},
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    log = (folder / "orthanc.log").open("wb")
    process = subprocess.Popen([executable, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    log.close()
    server = Orthanc(dicom_port, http_port)
    try:
        _wait_for(server, process, folder / "orthanc.log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(server: Orthanc, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            server.rest("/system")
            with socket.create_connection(("127.0.0.1", server.dicom_port), timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"Orthanc did not start:\n{log.read_text(errors='replace')}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
