"""Models: the behaviour of the ctk and qMRML widgets that scripted modules use most. Importing registers them all."""

from . import (  # noqa: F401
    buttons,
    check_boxes,
    collapsible,
    colour_picker,
    data_views,
    layout_widgets,
    message_box,
    mrml_widget,
    node_combo_box,
    paths,
    ranges,
    segment_editor,
    segments_table,
    show_3d_button,
    sliders,
    subject_hierarchy,
    texts,
    threshold,
)
