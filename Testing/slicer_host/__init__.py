"""A stand-in for 3D Slicer in tests: see README.md.

from slicer_host import install
host = install()                        # then: import slicer, qt, ctk, vtk
host.load_module("KidneySeg/KidneySeg.py")
panel = host.open_panel("KidneySeg")
"""

from .errors import NotModelled, UiFileError
from .host import Host, install

__all__ = ["Host", "NotModelled", "UiFileError", "install"]
