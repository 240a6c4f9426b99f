"""Trainers that nnU-Net is shown; nothing else may stand in this folder."""
