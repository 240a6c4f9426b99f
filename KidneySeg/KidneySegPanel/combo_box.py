"""Choosing an entry of a combo box by its value."""


def chooseQuietly(comboBox, value):
    """Show the entry with a value, if there is one, without telling anybody."""
    index = comboBox.findData(value)
    if index >= 0 and index != comboBox.currentIndex:
        wasBlocked = comboBox.blockSignals(True)
        comboBox.setCurrentIndex(index)
        comboBox.blockSignals(wasBlocked)
