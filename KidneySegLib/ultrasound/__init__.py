"""Kidneys on 2-D ultrasound: reading, segmenting, measuring, and synthetic B-mode pictures with known truth.

Importing this package needs the standard library alone.
"""
