"""Training recipes. Each is a function that the command line calls; torch is imported only when one runs."""
