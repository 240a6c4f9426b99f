"""Fine-tuning: a model goes on learning from cases that people corrected, and is judged before it may replace any.

``cases`` cuts boxes round the kidneys of a data set, ``phantoms`` renders what must not be forgotten, ``mixed`` trains
on both, ``judge`` compares before and after through the whole pipeline, ``run`` is the road through all of it.
"""
