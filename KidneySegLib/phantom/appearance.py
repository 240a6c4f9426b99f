"""HU of everything that a scene paints: contrast physics, then variety beyond one patient's plausible values."""

from __future__ import annotations

import numpy as np

from KidneySegLib.phantom.contrast import Enhancement

#: Tissues whose HU the variety leaves alone: their contrast to the rest is what CT is.
_FIXED = {"fat", "lung", "bone_cortex"}


def sample_appearance(rng: np.random.Generator, enhancement: Enhancement, variety: float) -> dict[str, float]:
    """Paint values by name.

    Args:
        enhancement: mean HU of the tissues at this moment after injection.
        variety: 0 keeps the physics; 1 moves every organ's HU well beyond the plausible, as domain randomisation
            does (Billot et al., SynthSeg, 2023), so that a network can't lean on absolute HU.

    Returns:
        HU, and standard deviations of textures (``texture``, ``lobe``, ``fat_strands``, ``spleen_bands``).
    """

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    hu = dict(enhancement.values)
    hu.update(
        visceral_fat=hu["fat"] + uniform(-4, 10),
        sinus_fat=hu["fat"] + uniform(0, 28),
        perirenal_fat=hu["fat"] + uniform(-2, 10),
        canal=hu["csf"] + uniform(5, 25),
        stomach_content=uniform(-10, 60) if rng.random() < 0.8 else uniform(100, 400),
        faeces=uniform(-60, 60),
        liver_lesion=uniform(-5, 60),
        calcification=uniform(350, 1200),
        stone=uniform(200, 1500),
        cyst=uniform(-4, 20),
        cyst_hyperdense=uniform(35, 95),
        cyst_wall=uniform(10, 60),
        texture=uniform(1, 7),
        lobe=uniform(0, 9),
        fat_strands=uniform(2, 14),
        spleen_bands=uniform(1, 5),
    )
    if enhancement.phase == "arterial":
        # Early filling is uneven: the spleen is striped, the cortex hardly.
        hu["spleen_bands"] = uniform(3, 40)
    hu["bone_spongy"] = uniform(100, 280)
    if variety > 0:
        # All the vessels and kidneys together: another dose, voltage or moment.
        gain = float(np.exp(rng.normal(0, 0.16 * variety)))
        for name, value in hu.items():
            if name in _FIXED or name in ("texture", "lobe", "fat_strands", "spleen_bands"):
                continue
            shift = rng.normal(0, 12 * variety)
            if rng.random() < 0.22 * variety and name not in ("cortex", "medulla"):
                shift = rng.normal(0, 55)
            base = hu["muscle"]
            hu[name] = float(base + (value - base) * gain + shift) if value > -50 else float(value + 0.3 * shift)
        # Medulla is darker than cortex, or the same; beyond that, their contrast is drawn anew now and then.
        if enhancement.phase == "arterial" and rng.random() < 0.5 * variety:
            hu["medulla"] = hu["cortex"] - uniform(20, 150)
        if enhancement.phase == "unenhanced":
            hu["medulla"] = hu["cortex"] + rng.normal(0, 1.5)
        elif enhancement.phase == "nephrographic":
            hu["medulla"] = hu["cortex"] + rng.normal(-4, 9)
    return hu
