"""An ensemble: a model, and one made from nnU-Net's that finds the same structures; their probabilities are averaged.

Humpire Mamani et al. (2023, arXiv:2309.03383) ensemble their network with an nnU-Net trained on the same data. That it
is by the plain mean, of probabilities and not of logits, is this program's choice.

In ``model.json`` the nnU-Net model is the ``partner`` of a model that is none of nnU-Net's. (The partner of a model of
nnU-Net's finds the cortex: `nnunet_pair`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from KidneySegLib.errors import ModelError
from KidneySegLib.models.bundle import BundleSpec
from KidneySegLib.models.nnunet_record import NnUnetRecord

#: Structures of an nnU-Net model that count as an output, where they are not called the same.
_PARTS: Mapping[str, frozenset[str]] = {
    "parenchyma": frozenset({"parenchyma", "medulla", "cortex"}),
    "abnormality": frozenset({"abnormality", "cyst", "mass"}),
}


def parts_of(output: str) -> frozenset[str]:
    """The structures of an nnU-Net model (`nnunet_record.STRUCTURES`) whose probabilities add up to an output's.

    A sigmoid network's parenchyma holds its cortex, and a softmax network has no parenchyma beside cortex, so both
    mean all parts of it. Cyst and mass are told apart only by outputs that tell them apart.
    """
    return _PARTS.get(output, frozenset({output}))


def check_ensemble(spec: BundleSpec, where: str) -> None:
    """Check that the two models of an ensemble find the same structures.

    Raises:
        ModelError: saying which structure one of them lacks.
    """
    partner = spec.partner
    if partner is None or partner.nnunet is None or partner.partner is not None or partner.two_stage is not None:
        raise ModelError(f"{where}: the second model of an ensemble must be one single model made from nnU-Net's.")
    if spec.nnunet is not None or spec.two_stage is not None or spec.is_localiser:
        raise ModelError(
            f"{where}: the first model of an ensemble must be one that kidneyseg train abnormality made, or another "
            "fine model that is neither nnU-Net's nor of two stages."
        )
    found = structures_found(partner.nnunet)
    wanted = [name for name in spec.outputs if name != "background"]
    lacking = [name for name in wanted if not found & parts_of(name)]
    strange = sorted(found - frozenset().union(*map(parts_of, wanted)))
    if lacking or strange:
        both = [f"finds no {name}" for name in lacking] + [f"finds {name} too" for name in strange]
        raise ModelError(
            f"{where}: both models of an ensemble must find the same, {' and '.join(wanted)}, but the nnU-Net model "
            f"{partner.name} {', '.join(both)}; its labels are {_said(partner.nnunet)}. If a label means something "
            "else, say so with --map THEIRS=MEANING; else train nnU-Net on the same labels."
        )


def structures_found(record: NnUnetRecord) -> frozenset[str]:
    """What an nnU-Net model's network can say but background."""
    return frozenset(record.structures.get(id, "background") for id in record.channels) - {"background"}


def _said(record: NnUnetRecord) -> str:
    names: Sequence[str] = [
        f"{record.labels.get(id, id)} ({record.structures.get(id, 'background')})" for id in record.channels if id
    ]
    return ", ".join(names)
