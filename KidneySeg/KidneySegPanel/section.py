"""What every section of the panel has in common."""


class Section:
    """One collapsible part of the panel. Knows its widgets, and the panel for everything else.

    A section connects signals once, in its constructor. `update` makes its widgets agree with the parameter node and
    is called whenever that, or the state of the engine, changes; it must be cheap when nothing changed.
    """

    def __init__(self, panel):
        """
        :param panel: KidneySegWidget: has ``ui``, ``logic``, ``parameterNode`` (None while the scene is closed).
        """
        self.panel = panel
        self.ui = panel.ui
        self.logic = panel.logic

    @property
    def parameters(self):
        return self.panel.parameterNode

    def update(self):
        """Make widgets agree with the parameter node."""

    def enter(self):
        """The user opened the module."""

    def exit(self):
        """The user went to another module."""

    def sceneClosed(self):
        """The scene is about to be closed: forget its nodes."""

    def cleanup(self):
        """The widget is about to be destroyed."""


def fitHeight(table):
    """Make a QTableWidget as high as its rows: a scroll bar inside a scrolled panel is hard to use."""
    rows = sum(table.rowHeight(row) for row in range(table.rowCount))
    header = table.horizontalHeader()
    height = rows + header.sizeHint.height() + 2 * table.frameWidth + 2
    columns = sum(table.columnWidth(column) for column in range(table.columnCount))
    if columns + table.verticalHeader().sizeHint.width() > table.width:
        height += table.horizontalScrollBar().sizeHint.height()
    table.setFixedHeight(height)
