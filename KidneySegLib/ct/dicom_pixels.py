"""Pixels of DICOM slices as one array of HU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.ct.dicom_headers import SliceHeader, damaged, one_line
from KidneySegLib.ct.geometry import check_size
from KidneySegLib.ct.upright import AIR_HU
from KidneySegLib.errors import InputError
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    from pydicom import Dataset

_MAX_THREADS = 8
#: Frames of one multi-frame file that one thread decodes at a time.
_CHUNK = 16
_INT16 = np.iinfo(np.int16)
#: Padding is turned into air only where it lies outside the HU that tissue can have.
_PADDING_ABOVE_HU = 3071


def decode(slices: Sequence[SliceHeader], progress: Progress) -> NDArray[Any]:
    """HU of ordered slices.

    Returns:
        (slices, rows, columns): int16 if every slope and intercept is a whole number and all HU fit, else float32.

    Raises:
        InputError: a file is truncated, damaged, or compressed in a way that cannot be decoded.
    """
    check_size((len(slices), slices[0].rows, slices[0].columns), slices[0].entry.name)
    _check_first(slices)
    whole = all(float(one.slope).is_integer() and float(one.intercept).is_integer() for one in slices)
    if whole:
        hu = _decode_as(slices, np.dtype(np.int16), progress)
        if hu is not None:
            return hu
    hu = _decode_as(slices, np.dtype(np.float32), progress)
    if hu is None:
        raise AssertionError("every HU fits into float32")
    return hu


def _check_first(slices: Sequence[SliceHeader]) -> None:
    """Decode one slice before memory is taken for all: a file whose pixels are fewer than it claims ends here."""
    _stored([slices[0]])


def _decode_as(slices: Sequence[SliceHeader], dtype: np.dtype[Any], progress: Progress) -> NDArray[Any] | None:
    """HU as a type, or None if one does not fit."""
    jobs = _jobs(slices)
    volume = np.empty((len(slices), slices[0].rows, slices[0].columns), dtype=dtype)
    fits = True
    done = 0
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        try:
            for job_fits, count in pool.map(lambda job: _decode_job(slices, job, volume), jobs):
                fits = fits and job_fits
                done += count
                progress.report("read", 0.2 + 0.7 * done / len(slices), "pixels")
                if not fits:
                    break
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        if not fits:
            pool.shutdown(wait=True, cancel_futures=True)
    return volume if fits else None


def _jobs(slices: Sequence[SliceHeader]) -> list[list[int]]:
    """Indices of slices to decode together: those of one file, in portions."""
    order = sorted(range(len(slices)), key=lambda i: (slices[i].entry.name, slices[i].frame or 0))
    jobs = []
    for _, group in groupby(order, key=lambda i: slices[i].entry.name):
        indices = list(group)
        jobs += [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    return jobs


def _decode_job(slices: Sequence[SliceHeader], indices: Sequence[int], volume: NDArray[Any]) -> tuple[bool, int]:
    stored = _stored([slices[index] for index in indices])
    fits = True
    for index, values in zip(indices, stored, strict=True):
        fits = _to_hu(values, slices[index], volume[index]) and fits
    return fits, len(indices)


def _stored(slices: Sequence[SliceHeader]) -> list[NDArray[Any]]:
    """Stored values of slices of one file, each of the size that its header claims."""
    entry = slices[0].entry
    try:
        with entry.read() as stream:
            stored = _stored_frames(stream, [one.frame or 0 for one in slices])
    except (OSError, ImportError):
        raise
    except Exception as error:  # pydicom and its plugins raise whatever a damaged byte leads to
        raise _undecodable(slices[0], error) from error
    for one, values in zip(slices, stored, strict=True):
        if values.shape != (one.rows, one.columns):
            raise damaged(entry, f"a picture of {values.shape} pixels, expected {(one.rows, one.columns)}")
    return stored


def _stored_frames(stream: Any, frames: Sequence[int]) -> list[NDArray[Any]]:
    """Stored values of some frames of one file, signed or unsigned as the file says."""
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    dataset: Dataset = dcmread(stream, force=True)
    if "PixelData" not in dataset:
        raise ValueError("its pixel data is missing")
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax is None:
        syntax = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
    if syntax.is_compressed:
        _silence_gdcm()
    decoder = get_decoder(syntax)
    # A damaged stream makes pylibjpeg-rle panic (no Exception, and a trace on stderr), so RLE goes to pydicom itself.
    plugin = "pydicom" if syntax == RLELossless else ""
    return [decoder.as_array(dataset, raw=True, index=frame, decoding_plugin=plugin)[0] for frame in frames]


def _silence_gdcm() -> None:
    """Keep GDCM's own warnings off the terminal, if that plugin is installed."""
    try:
        gdcm = import_module("gdcm")
    except ImportError:
        return
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()


def _to_hu(stored: NDArray[Any], one: SliceHeader, target: NDArray[Any]) -> bool:
    """Write HU into ``target``; False if its type cannot hold them."""
    hu: NDArray[Any]
    if target.dtype == np.int16:
        hu = stored.astype(np.int32) * int(one.slope) + int(one.intercept)
    else:
        hu = stored.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
    if one.padding is not None:
        low, high = one.padding
        ends_hu = sorted((low * one.slope + one.intercept, high * one.slope + one.intercept))
        if ends_hu[1] < AIR_HU or ends_hu[0] > _PADDING_ABOVE_HU:
            hu[(stored >= low) & (stored <= high)] = AIR_HU
    if target.dtype == np.int16 and (hu.min() < _INT16.min or hu.max() > _INT16.max):
        return False
    target[...] = hu
    return True


def _undecodable(one: SliceHeader, error: Exception) -> InputError:
    text = one_line(error)
    unsupported = isinstance(error, NotImplementedError)
    if unsupported or any(words in str(error) for words in ("missing dependencies", "Unable to decompress")):
        return InputError(
            f"{one.entry.name} is compressed in a way that cannot be decoded here ({text}). Export the series "
            "uncompressed (Explicit VR Little Endian)."
        )
    return damaged(one.entry, text)
