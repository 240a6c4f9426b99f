"""``kidneyseg train two-stage``: kidney and tumour after Zhu et al. (KiTS19), trained on phantoms or KiTS."""
