"""The published figures that the report stands beside: "Transfer Learning", Alan Casey and Alex Racapé, September 2023.

CIFAR-10 at 224 px, the first 24,000 training and all 10,000 test images, five epochs, one NVIDIA T4.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Published:
    """A column of the study's Table 1: times in seconds, accuracy as a fraction of 1."""

    training_s: float
    inference_s: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class PublishedStudy:
    """The study's tables: 1 by model; 2 by photograph and then by model, `✓` or the wrong label that was given."""

    hardware: str
    train_rows: int
    test_rows: int
    table_1: Mapping[str, Published]
    table_2: Mapping[str, Mapping[str, str]]


TABLE_1: Mapping[str, Published] = {
    "vgg16": Published(12 * 60 + 47, 64, 0.8187),
    "vgg19": Published(20 * 60 + 1, 99, 0.8164),
    "resnet50": Published(12 * 60 + 23, 59, 0.8066),
    "resnet152": Published(22 * 60 + 4, 105, 0.8193),
}

_TABLE_2: Mapping[str, tuple[str, str, str, str]] = {
    "frog 1": ("✓", "✓", "cat", "✓"),
    "frog 2": ("✓", "✓", "bird", "bird"),
    "ship 1": ("✓", "✓", "plane", "plane"),
    "ship 2": ("✓", "✓", "plane", "plane"),
    "plane 1": ("✓", "✓", "✓", "✓"),
    "plane 2": ("✓", "✓", "✓", "✓"),
}
"""What the four models said of the study's own six photographs, which were not published."""

STUDY = PublishedStudy(
    hardware="one NVIDIA T4",
    train_rows=24_000,
    test_rows=10_000,
    table_1=TABLE_1,
    table_2={photograph: dict(zip(TABLE_1, labels, strict=True)) for photograph, labels in _TABLE_2.items()},
)
