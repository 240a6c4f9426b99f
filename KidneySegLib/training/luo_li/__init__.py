"""Luo and Li (2025), repeatable: their nnU-Net protocol for renal parenchyma and cortex, from labelled CT to a bundle.

The source is Luo H, Li P, Chongqing Medicine 2025, doi 10.3969/j.issn.1671-8348.2025.03.013. ``recipe.json`` says of
every choice whether the paper states it. ``run.train_luo_li`` is the door; the road behind it is ``cases`` (what is in
the data set) -> ``patients`` and ``splits`` (groups, held-out cases, folds) -> ``raw`` (nnUNet_raw) -> ``plans``
(fingerprint, planning, preprocessing) -> ``folds`` (training and validation by nnU-Net, with ``trainers/``) ->
``result`` (best folds, one bundle, the record).
"""
