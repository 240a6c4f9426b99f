"""Widgets without a behaviour that tests need; their plain properties keep their values."""

from __future__ import annotations

from ..standin import models


@models("ctkDynamicSpacer")
class DynamicSpacer:
    pass


@models("ctkPopupWidget")
class PopupWidget:
    pass
