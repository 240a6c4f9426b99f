"""Training of the triple concatenated model on ultrasound pictures with outlines."""
