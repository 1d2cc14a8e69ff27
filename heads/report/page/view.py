"""A section of the report as the page's parts look at it, and the parts themselves as they are declared."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from headstart.core.heads.report.facts import HeadResults, Section
from headstart.core.heads.report.page.html import Frame, Html
from headstart.core.heads.report.published import Published
from headstart.core.heads.report.row import Row, best_of, comparable
from headstart.core.heads.study.results import Analyses


@dataclasses.dataclass(frozen=True)
class View(Frame):
    """A section of the report on its page; `place` is where its facts stand in the report, for messages."""

    section: Section = dataclasses.field(kw_only=True)
    place: str = "sections[0]"

    def models(self) -> list[str]:
        """All models in one order: those of rows, then those of heads, times and maps."""
        found = self.section
        names = ([row.model for row in found.rows], [head.model for head in found.heads], found.stages, found.maps)
        return list(dict.fromkeys(itertools.chain(*names)))

    def heads_by_settings(self) -> dict[str, dict[str, HeadResults]]:
        """What test rows say of heads, by settings and then by model."""
        found: dict[str, dict[str, HeadResults]] = {}
        for head in self.section.heads:
            found.setdefault(head.settings, {})[head.model] = head
        return found

    def heads(self) -> Iterator[HeadResults]:
        """The same heads one after the other, settings by settings."""
        for models in self.heads_by_settings().values():
            yield from models.values()

    def analysed(self) -> Iterator[tuple[HeadResults, Analyses]]:
        """The heads that a study analysed, with what it found."""
        yield from ((head, head.analyses) for head in self.heads() if head.analyses)

    def results_of(self, row: Row) -> HeadResults | None:
        """What test rows say of a row's head."""
        found = (head for head in self.section.heads if (head.model, head.settings) == (row.model, row.settings))
        return next(found, None)

    def hardware(self) -> str:
        """What our figures were measured on."""
        return "; ".join(dict.fromkeys(row.device for row in self.section.rows)) or "hardware that was not recorded"

    def notes(self) -> list[str]:
        """What must stand beside our figures, each once; its place is its number."""
        return list(dict.fromkeys(note for row in self.section.rows for note in row.notes))

    def comparable(self) -> list[Row]:
        """The heads that may be ranked."""
        return comparable(self.section.rows)

    def best(self) -> Row | None:
        """The best head of these; None without any."""
        return best_of(self.section.rows)

    def published_of(self, row: Row) -> Published | None:
        """The published figures of a row's backbone, if it is trained as the study trained its own."""
        study = self.section.published
        return study.table_1.get(row.model.partition(",")[0]) if study and row.published else None


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a section's page.

    `key` names it in links, `title` in the contents. `make` gives its HTML, empty where it has nothing to say. Parts stand
    in the order of `study_place` where the published study's figures are beside ours, and there have the title
    `study_title`; else in that of `own_place`. Without a place it is left out.
    """

    key: str
    title: str
    make: Callable[[View], Html]
    study_place: int | None
    own_place: int | None
    study_title: str | None = None
