"""``kidneyseg train abnormality``: kidney parenchyma and abnormality after Humpire Mamani et al. (2023)."""
