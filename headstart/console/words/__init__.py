"""What the command line says of results: text for people, and JSON values, each made from a join's dataclasses.

Importing it imports nothing that computes.
"""

from headstart.console.words import (
    auditing,
    backbones,
    choosing,
    estimates,
    extraction,
    predictions,
    sets,
    study,
    timing,
    training,
)
from headstart.console.words.shipping import exporting, serving

__all__ = [
    "auditing",
    "backbones",
    "choosing",
    "estimates",
    "exporting",
    "extraction",
    "predictions",
    "serving",
    "sets",
    "study",
    "timing",
    "training",
]
