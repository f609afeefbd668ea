"""How a class is named that is to be imported."""

from __future__ import annotations

import re
from typing import Final

CLASS_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""``package.module:Class``."""
EXAMPLE: Final = "my_package.my_module:MyModel"
