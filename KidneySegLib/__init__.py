"""KidneySeg's engine: from a CT scan to kidney volumes, with no Slicer and no Qt.

The package is read in the order in which data goes through it: ``ct`` reads and checks a scan,
``models`` finds a bundle, ``inference`` runs its networks, ``postprocessing`` turns their output into
sided kidneys, ``measurement`` measures them and ``export`` writes the results folder.
``pipeline.segment_case`` is that road in one function.
"""

__version__ = "0.1.0"
