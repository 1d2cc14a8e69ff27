"""The heads by name. Each is one module of this package with a class of its name, capitalised; adding a
head is adding a file. So the names are known without importing torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.core.heads.kinds.base import Head

DEFAULT = "mlp"
_MODULES = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "base")
NAMES = (DEFAULT, *(name for name in _MODULES if name != DEFAULT))
"""What `--head` takes, the default first."""


def kind(name: str) -> type[Head]:
    """The class of the head with this name; imports torch. Raises ValueError where there is none."""
    if name not in NAMES:
        raise ValueError(f"{name!r} is no head; expected {', '.join(NAMES)}")
    found: type[Head] = getattr(importlib.import_module(f"{__name__}.{name}"), name.capitalize())
    return found
