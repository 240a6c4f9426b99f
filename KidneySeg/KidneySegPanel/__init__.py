"""The panel of KidneySeg, one file a section. Only this folder and KidneySeg.py know 3D Slicer."""
