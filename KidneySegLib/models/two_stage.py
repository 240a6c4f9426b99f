"""What a two-stage bundle says of its first stage (the key ``two_stage`` of ``model.json``).

The bundle's own network, files and outputs are the second stage's; the first stage's files lie beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from KidneySegLib.models.form import Form


@dataclass(frozen=True)
class TwoStageRecord:
    """The first stage and how it leads to the second.

    Attributes:
        network, arguments: of the first stage, as `networks.build_network` takes them.
        pooling: pixels of the bundle's grid that make one of the first stage's, each way.
        slab: slices that the first stage sees at a time.
        slab_step: distance of neighbouring slabs in slices; their probabilities are averaged.
        dilation_mm: half axes (z, y, x) by which the foreground grows to the mask.
        foreground_probability: from which a voxel is foreground.
        weights, graph, graph_weights: files of the first stage.
    """

    network: str
    arguments: Mapping[str, Any]
    pooling: int
    slab: int
    slab_step: int
    dilation_mm: tuple[float, float, float]
    foreground_probability: float = 0.5
    weights: str = "first.safetensors"
    graph: str = "first.xml"
    graph_weights: str = "first.bin"

    @property
    def files(self) -> tuple[str, str, str]:
        """Names of the first stage's files."""
        return self.weights, self.graph, self.graph_weights

    def content(self) -> dict[str, Any]:
        """What ``model.json`` holds of it."""
        return {
            "network": {"name": self.network, "arguments": dict(self.arguments)},
            "pooling": self.pooling,
            "slab": self.slab,
            "slab_step": self.slab_step,
            "dilation_mm": list(self.dilation_mm),
            "foreground_probability": self.foreground_probability,
            "files": dict(zip(("weights", "graph", "graph_weights"), self.files, strict=True)),
        }


def read_two_stage(form: Form) -> TwoStageRecord:
    """Read and check what `TwoStageRecord.content` wrote.

    Raises:
        ModelError: naming the key that is wrong.
    """
    from KidneySegLib.models.bundle import FILE_PATTERN, NAME_PATTERN

    network, files = form.form("network"), form.form("files")
    z, y, x = form.numbers("dilation_mm", 3, 0.1, 100.0)
    slab = form.integer("slab", 4, 512)
    # Earlier models say nothing of it.
    told = form.has("foreground_probability")
    probability = form.number("foreground_probability", 0.01, 0.99) if told else 0.5
    record = TwoStageRecord(
        network=network.text("name", pattern=NAME_PATTERN),
        arguments=network.mapping("arguments"),
        pooling=form.integer("pooling", 1, 8),
        slab=slab,
        slab_step=form.integer("slab_step", 1, slab),
        dilation_mm=(z, y, x),
        foreground_probability=probability,
        weights=files.text("weights", pattern=FILE_PATTERN),
        graph=files.text("graph", pattern=FILE_PATTERN),
        graph_weights=files.text("graph_weights", pattern=FILE_PATTERN),
    )
    for part in (network, files, form):
        part.known_only()
    return record
