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
    serving,
    sets,
    study,
    timing,
    training,
)

__all__ = [
    "auditing",
    "backbones",
    "choosing",
    "estimates",
    "extraction",
    "predictions",
    "serving",
    "sets",
    "study",
    "timing",
    "training",
]
