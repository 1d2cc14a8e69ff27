"""Under which licence a backbone's weights are, as far as it is known, and what must be said of it."""

from __future__ import annotations

import re

from headstart.core.extract.backbones import Backbone

_TORCHVISION = (
    "BSD-3-Clause (torchvision, which says that weights may have terms of their own, from the data they were trained on: "
    "ImageNet is for non-commercial research and education)"
)
"""https://github.com/pytorch/vision#pre-trained-model-license; https://www.image-net.org/download.php"""

_OPEN = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0"}
"""Identifiers of timm's registry (1.0.31) that allow every use, as https://spdx.org/licenses/ spells them."""


def licence(backbone: Backbone, label: str) -> str:
    """The licence of weights by their label in a key: a published name, `random:SEED`, `file` or `file#MEMBER`."""
    if label.startswith("random"):
        return "none: the weights are random numbers"
    if label.partition("#")[0] == "file":
        return "unknown: the weights are from a file, ask whoever made it"
    file = backbone.checkpoints.get(label)
    return _TORCHVISION if file is None or file.licence is None else file.licence


def caution(found: str) -> str | None:
    """What must be said of published weights under a licence; None for one that allows every use, and where there is no
    identifier to judge by. Only what an identifier says is said: whoever uses weights reads their licence."""
    if found == "unknown":
        return "their licence is not known: ask whoever published them"
    if found.lower() in _OPEN or " " in found:
        return None
    if re.search(r"(^|-)(nc|noncommercial)(-|$)", found.lower()):
        return f"their licence is {found}: not for commercial use, nor is what is made with them"
    return f"their licence is {found}, which has terms of its own: read them before you use what is made with them"
