"""What the report says, as data: every rendering takes its numbers from here and computes none of its own.

Times are in seconds and accuracies fractions of 1; None stands for what was not measured. Test images are numbered by row
as in their split, and a picture is a data URI.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from headstart.core.heads.audit.kept import KeptAudit
from headstart.core.heads.predict import Photo
from headstart.core.heads.report.published import PublishedStudy
from headstart.core.heads.report.row import Row
from headstart.core.heads.statistics.compare import Comparison, Spread
from headstart.core.heads.statistics.maps import FeatureMap, Projection, Thumbnail
from headstart.core.heads.statistics.measures import NAMES
from headstart.core.heads.study.results import Analyses, BatchNormResults

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How often a label was given, as a multiple of how often it is true; None for a class without test images."""

    ratio: float | None
    interval: Interval | None


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A test image with a wrong label, and the probability of that label; `id` as in the feature set, empty where not
    known."""

    row: int
    label: str
    predicted: str
    probability: float
    image: str | None = None
    id: str = ""


@dataclasses.dataclass(frozen=True)
class HeadResults:
    """What test rows say of one head, and what a study measured of it, if there was one.

    `model` and `settings` name the head within its section, as its row does. `test_interval` is over test images. Rows of
    `confusion` are true classes, columns predicted ones. `recall`, `precision`, `f1`, `predicted`, `true` and `ratio` are
    by class. `spread` is over the seeds of `analyses`.
    """

    model: str
    settings: str
    test_interval: Interval
    confusion: tuple[tuple[int, ...], ...]
    recall: Mapping[str, float | None]
    predicted: Mapping[str, int]
    true: Mapping[str, int]
    ratio: Mapping[str, Ratio]
    mistakes: tuple[Mistake, ...]
    precision: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    f1: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    analyses: Analyses | None = None
    spread: Spread | None = None


@dataclasses.dataclass(frozen=True)
class ModelPair:
    """Two models' heads of the same settings on the same test images; `note` is what must be said of the comparison."""

    settings: str
    comparison: Comparison
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class LabelShift:
    """Whether two models' heads of the same settings give a label equally often."""

    settings: str
    label: str
    comparison: Comparison


@dataclasses.dataclass(frozen=True)
class SigmoidCost:
    """A model's accuracies with the sigmoid before the loss and without it, all else being the same."""

    model: str
    with_sigmoid: Spread
    without: Spread

    @property
    def difference(self) -> float:
        """What leaving the sigmoid out adds to the mean accuracy."""
        return self.without.mean - self.with_sigmoid.mean


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A test image that models label differently; `predicted` is by model, `id` as in the feature set."""

    row: int
    label: str
    predicted: Mapping[str, str]
    image: str | None = None
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """An outside photograph with its labels; its picture where it could be read."""

    photo: Photo
    image: str | None = None


@dataclasses.dataclass(frozen=True)
class TitledImage:
    """A picture with its title."""

    title: str
    image: str


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """An image before and after preprocessing."""

    caption: str
    images: tuple[TitledImage, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """What the report says of one set of test images.

    `heads` stand model by model, and only those whose features are there; `not_compared` says in words which of them were
    tested on other images. `maps` and `stages` (seconds per image of each stage of inference) are by model. `published` are
    the published study's figures where they may stand beside ours. `replaced` says that all its heads are of earlier
    snapshots, and that another section has heads of the data set as it is now: none of these is then recommended. `audit`
    is what an audit of the data set found, None where none was made; it is `audit_outdated` where it is of other pictures
    or labels. `corrected_by` names the file that the newest head's labels were corrected by, None for labels as given.
    """

    title: str
    dataset: str
    split: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    photos: tuple[Photograph, ...] = ()
    heads: tuple[HeadResults, ...] = ()
    comparisons: tuple[ModelPair, ...] = ()
    label_shifts: tuple[LabelShift, ...] = ()
    sigmoid: tuple[SigmoidCost, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    not_compared: tuple[str, ...] = ()
    maps: Mapping[str, FeatureMap | None] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    batch_norm: BatchNormResults | None = None
    preprocessing: Preprocessing | None = None
    published: PublishedStudy | None = None
    replaced: bool = False
    audit: KeptAudit | None = None
    audit_outdated: bool = False
    corrected_by: str | None = None

    @property
    def instead(self) -> str:
        """What is said where its best head would be recommended."""
        return (
            f"These heads are of an earlier snapshot of {self.dataset}; a section above has those of its present pictures."
        )

    def measures(self) -> list[str]:
        """The measures by name that any of the rows has, in the order in which they are shown."""
        return [name for name in NAMES if any(name in row.measures for row in self.rows)]


@dataclasses.dataclass(frozen=True)
class Report:
    """The whole report. `hardware` is what our figures were measured on, `created` a time in ISO 8601."""

    sections: tuple[Section, ...]
    hardware: str = ""
    created: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    title: ClassVar[str] = "Frozen backbones compared"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes every figure less than it seems: the notes that all rows have. Others stand at their rows."""
        notes = [row.notes for section in self.sections for row in section.rows]
        return tuple(note for note in dict.fromkeys(notes[0] if notes else ()) if all(note in other for other in notes))


_Shown = TypeVar("_Shown", Mistake, Disagreement, Thumbnail)


def with_pictures(section: Section, picture: Callable[[int], str | None]) -> Section:
    """The section with the pictures of the test images that it shows; `picture` gives that of a row, or None."""
    return _each_shown(section, lambda it: picture(it.row), lambda it: it.id)


def with_ids(section: Section, ids: Mapping[int, str]) -> Section:
    """The section with the ids of the test images that it shows, by row: what their owner knows them by."""
    return _each_shown(section, lambda it: it.image, lambda it: ids.get(it.row, ""))


def named(row: int, known_as: str) -> str:
    """A test image in words: its id, mostly a path, with its row; the row alone where the id says no more."""
    return f"{known_as} (test image {row})" if known_as not in ("", str(row)) else f"test image {row}"


def _each_shown(
    section: Section,
    picture: Callable[[Mistake | Disagreement | Thumbnail], str | None],
    known_as: Callable[[Mistake | Disagreement | Thumbnail], str],
) -> Section:
    """The section with the picture and the id of every test image that it shows."""

    def shown(found: tuple[_Shown, ...]) -> tuple[_Shown, ...]:
        return tuple(dataclasses.replace(one, image=picture(one), id=known_as(one)) for one in found)

    def projected(found: Projection) -> Projection:
        return dataclasses.replace(found, thumbnails=shown(found.thumbnails))

    def mapped(found: FeatureMap) -> FeatureMap:
        return FeatureMap(projected(found.pca), projected(found.tsne) if found.tsne else None)

    return dataclasses.replace(
        section,
        heads=tuple(dataclasses.replace(head, mistakes=shown(head.mistakes)) for head in section.heads),
        disagreements=shown(section.disagreements),
        maps={model: mapped(found) if found else None for model, found in section.maps.items()},
    )
