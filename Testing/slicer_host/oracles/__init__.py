"""Checks of the host against code that nobody here wrote, from checkouts outside the project. See README.md."""
