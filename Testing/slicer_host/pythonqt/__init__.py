"""PySide6 behaving as PythonQt, the binding that Slicer's Python uses: see `install`."""

from .namespace import install

__all__ = ["install"]
