"""The report's page: well formed, honest about what stands beside what, nothing unescaped, every number the document's."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from typing import Any

import page_samples
import pytest
from heads_samples import make_curve

from headstart.core.heads.predict import Photo
from headstart.core.heads.report.facts import (
    Disagreement,
    HeadResults,
    Mistake,
    Photograph,
    Preprocessing,
    Report,
    Section,
    TitledImage,
)
from headstart.core.heads.report.more_pictures import sentence
from headstart.core.heads.report.page.document import POLICY, to_html
from headstart.core.heads.report.page.html import MOST_COLUMNS, picture, table
from headstart.core.heads.report.page.sections.labels.comparisons import probability
from headstart.core.heads.report.page.sections.summary.best import command
from headstart.core.heads.report.published import STUDY
from headstart.core.heads.report.row import Inference
from headstart.core.heads.report.units import percent, seconds
from headstart.core.heads.statistics.maps import FeatureMap, Projection, Thumbnail
from headstart.core.heads.study.results import CurvePoint

STUDY_PARTS = [
    "findings", "table-1", "table-2", "figure-1", "best", "comparisons", "seeds", "epochs", "sizes", "classes", "sigmoid",
    "batch-norm", "calibration", "mistakes", "disagreements", "maps", "losses", "stages",
]  # fmt: skip
OWN_PARTS = [
    "at-a-glance", "best", "table-1", "classes", "mistakes", "disagreements", "comparisons", "sizes", "table-2", "findings",
    "stages", "seeds", "epochs", "calibration", "maps", "sigmoid", "batch-norm", "losses", "figure-1",
]  # fmt: skip
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page taken apart: tags with attributes, what is open where text stands, tables as cells, faults of nesting."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "small" and "table" in self.open:
            self.tables[-1][-1][-1] += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if "caption" in self.open:
            self.captions[-1] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]

    def table(self, caption: str) -> list[list[str]]:
        """The rows of the table whose caption starts so."""
        (found,) = (rows for rows, text in zip(self.tables, self.captions, strict=True) if text.startswith(caption))
        return found

    @property
    def text(self) -> str:
        """All that can be read, style and title aside."""
        return "".join(data for tag, data in self.texts if tag not in ("style", "title"))


FACTS = page_samples.section()
SAMPLES = {
    "whole": page_samples.report(FACTS),
    "two": page_samples.whole(page_samples.MODELS[:2], points=50),
    "own": page_samples.report(page_samples.own()),
    "sections": page_samples.report(page_samples.section(page_samples.MODELS[:2], points=40), page_samples.own()),
    "small": page_samples.small(),
    "hostile": page_samples.hostile(),
    **page_samples.odd(),
}
HEADS = {(head.model, head.settings): head for head in FACTS.heads}
Undrawn = Callable[[Section], Page]
DRAWN = ("whole", "two", "small", "hostile", "many classes")
"""The samples whose figures are drawn: that is test_figures' matter, and takes seconds for a page."""


def sketch(key: str, words: str, *_: Any, **__: Any) -> str:
    """Stands for a figure."""
    return f'<svg role="img" aria-label="{escape(words)}"></svg>'


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> Undrawn:
    """The page of a section, its figures left out."""
    monkeypatch.setattr("headstart.core.heads.report.page.figures.svg.draw", sketch)
    return lambda facts: Page(to_html(page_samples.report(facts)))


@pytest.fixture(scope="module")
def html() -> dict[str, str]:
    found = {name: to_html(SAMPLES[name]) for name in DRAWN}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.core.heads.report.page.figures.svg.draw", sketch)
        return {name: found[name] if name in found else to_html(facts) for name, facts in SAMPLES.items()}


@pytest.fixture(scope="module")
def pages(html: dict[str, str]) -> dict[str, Page]:
    return {name: Page(text) for name, text in html.items()}


@pytest.fixture(scope="module")
def page(pages: dict[str, Page]) -> Page:
    return pages["whole"]


# ---------------------------------------------------------------------------------------------------------------- form


@pytest.mark.parametrize("name", SAMPLES)
def test_tags_are_balanced_and_identifiers_unique(name: str, pages: dict[str, Page]) -> None:
    page = pages[name]
    assert page.faults == []
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    links = [
        str(attrs[key])[1:] for _, attrs in page.tags for key in ("href", "xlink:href") if str(attrs.get(key))[0] == "#"
    ]
    assert set(links) <= set(names)


@pytest.mark.parametrize("name", SAMPLES)
def test_there_is_one_h1_and_no_heading_is_skipped(name: str, pages: dict[str, Page]) -> None:
    levels = [int(tag[1]) for tag, _ in pages[name].tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("name", SAMPLES)
def test_who_cannot_see_is_told_everything(name: str, pages: dict[str, Page]) -> None:
    page = pages[name]
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("aria-label") and attrs.get("role") == "img" for attrs in page.all("svg"))
    assert all(attrs.get("scope") in ("col", "row", "colgroup") for attrs in page.all("th"))
    assert all(page.captions)
    assert [len(page.all(tag)) for tag in ("main", "header", "footer", "nav")] == [1, 1, 1, 1]
    assert page.all("html") == [{"lang": "en"}]
    assert ("a", {"class": "skip", "href": "#main"}) in page.tags
    assert len(page.all("figure")) == len(page.all("figcaption"))
    boxes = [attrs for attrs in page.all("div") if attrs.get("class") == "scroll"]
    assert len(boxes) == len(page.tables)
    assert all(attrs.get("tabindex") == "0" and attrs.get("aria-label") for attrs in boxes)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_of_a_table_has_as_many_cells(name: str, pages: dict[str, Page]) -> None:
    for rows in pages[name].tables:
        assert len({len(row) for row in rows}) == 1
        assert len(rows[0]) <= 1 + MOST_COLUMNS


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_needs_nothing_else(name: str, html: dict[str, str], pages: dict[str, Page]) -> None:
    page = pages[name]
    found = [str(value) for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert all(value.startswith(("data:", "#")) for value in found)
    assert not page.all("script")
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    assert "url(" not in "".join(data for tag, data in page.texts if tag == "style")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert not re.search(r"<[a-z]+[^>]* on[a-z]+=", re.sub(r'="[^"]*"', "", html[name]))


def test_the_style_knows_night_paper_and_phones(page: Page) -> None:
    style = "".join(data for tag, data in page.texts if tag == "style")
    assert style.count("{") == style.count("}")
    for words in ("prefers-color-scheme:dark", "color-scheme:light dark", "@media print", "max-width:40rem"):
        assert words in style


def test_the_same_facts_make_the_same_page(html: dict[str, str]) -> None:
    assert to_html(SAMPLES["two"]) == html["two"]


# ------------------------------------------------------------------------------------------------------------- content


def test_every_part_is_there_and_in_the_contents(page: Page, pages: dict[str, Page]) -> None:
    assert parts_of(page) == [*STUDY_PARTS, "making"]
    assert contents_of(page) == parts_of(page)
    absent = ("sigmoid", "batch-norm", "figure-1")
    assert parts_of(pages["own"]) == [*(part for part in OWN_PARTS if part not in absent), "making"]
    assert contents_of(pages["own"]) == parts_of(pages["own"])


def parts_of(page: Page) -> list[str]:
    return [str(attrs["id"]) for attrs in page.all("section")]


def contents_of(page: Page) -> list[str]:
    """Where the first links of a page lead, as many as it has parts and sections."""
    titles = [attrs for attrs in page.all("h2") if attrs.get("class") == "of"]
    links = [str(attrs["href"])[1:] for attrs in page.all("a")]
    return links[1 : 1 + len(parts_of(page)) + len(titles)]


def test_several_sections_have_a_heading_each_and_identifiers_of_their_own(pages: dict[str, Page]) -> None:
    page = pages["sections"]
    titles = [attrs["id"] for attrs in page.all("h2") if attrs.get("class") == "of"]
    assert titles == ["s1-section", "s2-section"]
    first, second = ([part for part in parts_of(page) if part.startswith(start)] for start in ("s1-", "s2-"))
    assert first == [f"s1-{part}" for part in STUDY_PARTS]
    assert second[:3] == ["s2-at-a-glance", "s2-best", "s2-table-1"]
    assert contents_of(page) == ["s1-section", *first, "s2-section", *second, "making"]
    assert [data for tag, data in page.texts if tag == "bdi"][:2] == ["cifar10", "folder-pets"]


def test_one_section_shows_no_level_of_its_own(pages: dict[str, Page]) -> None:
    assert not [attrs for attrs in pages["own"].all("h2") if attrs.get("class") == "of"]
    assert "Tested on 60 images of folder-pets, test split, 3 classes." in pages["own"].text


@pytest.mark.parametrize("name", ["own", *page_samples.odd()])
def test_data_of_ones_own_is_not_set_beside_the_published_study(name: str, pages: dict[str, Page]) -> None:
    text = pages[name].text
    for words in ("ublished", "The study", "Table 1", "Table 2", "Figure 1", "NVIDIA", "24,000"):
        assert words not in text.replace("24,000 images", "")


def test_only_heads_trained_as_the_study_trained_stand_beside_it(undrawn: Undrawn) -> None:
    facts = page_samples.section(page_samples.MODELS[:2], points=40)
    page = undrawn(page_samples.with_rows(facts, 0, published=False, settings="study, changed: epochs 60"))
    lines = page.table("Table 1")[1:]
    beside = {line[0]: line[2].split(" training")[0] for line in lines}
    assert beside["vgg161 study, changed: epochs 60"] == "–"
    assert beside["vgg191 2 study recipe"] == "81.64 %"
    assert beside["vgg16"] == "81.87 %"
    assert "Against the published study, same recipe: vgg19 +4.18 percentage points" in page.text


def test_the_doubts_of_all_heads_stand_below_the_title(html: dict[str, str]) -> None:
    facts = page_samples.bare()
    rows = tuple(dataclasses.replace(row, notes=("a & b", "c")) for row in page_samples.own().rows)
    made = to_html(Report((dataclasses.replace(facts, rows=rows),)))
    assert '<p class="doubts">Of all figures: a &amp; b; c.</p>' in made
    assert "<h1>Frozen backbones compared</h1>" in made
    assert "<title>Frozen backbones compared</title>" in made
    assert "<h1>Frozen backbones compared</h1>" in html["small"]


def test_table_1_holds_each_heads_numbers(page: Page) -> None:
    head, *lines = page.table("Table 1: our heads")
    assert head == ["head", "accuracy", "published, one NVIDIA T4", "extraction", "head training", "inference",
                    "trained on / tested on"]  # fmt: skip
    for line, row in zip(lines, FACTS.rows, strict=True):
        low, high = row.interval
        marks = " ".join(str(i + 1) for i in range(len(row.notes)))
        assert line[0] == f"{row.model}{marks} {row.settings} recipe"
        assert line[1] == f"{percent(row.accuracy)} 95 %: {percent(low)} to {percent(high)}, over images"
        assert line[3:5] == [seconds(row.extraction_s or 0), seconds(row.training_s)]
        timed = row.inference and f"{seconds(row.inference.elapsed_s)} 10,000 images"
        assert line[5] == (timed or "not timed")
        assert line[6].startswith("24,000 / 10,000")


def test_published_figures_stand_in_a_column_of_their_own_with_their_hardware(page: Page) -> None:
    lines = page.table("Table 1: our heads")[1:]
    assert [line[2] for line in lines if line[2] != "–"] == [
        f"{percent(it.accuracy)} training {seconds(it.training_s)} inference {seconds(it.inference_s)}"
        for it in STUDY.table_1.values()
    ]
    assert "compare accuracies, not times" in page.captions[page.tables.index(page.table("Table 1"))]


def test_a_published_model_that_was_not_run_has_a_line_of_its_own(pages: dict[str, Page]) -> None:
    lines = {line[0]: line[1:] for line in pages["two"].table("Table 1: our heads")}
    assert lines["resnet152"] == ["not run here", "81.93 % training 22m 04s inference 1m 45s", *["–"] * 4]


def test_seeds_of_a_head_are_one_line_with_their_mean_and_spread(pages: dict[str, Page]) -> None:
    page, rows = pages["own"], SAMPLES["own"].sections[0].rows
    lines = page.table("Heads on cpu (AMD EPYC)")[1:]
    assert len(lines) == len(rows) == 4
    for line, row in zip(lines, rows, strict=True):
        low, high = row.accuracies[0], row.accuracies[-1]
        assert line[1].startswith(f"{percent(row.accuracy)} 95 %: ")
        assert line[1].endswith(f"over seeds and images mean of 3 seeds, seeds {percent(low)} to {percent(high)}")
    assert page.text.count("study recipe, mean of 3 seeds") == 2  # the cards
    assert not re.search(r"(vgg1\d) \w+ with [^.]*\1 last", page.text)


def test_a_single_seed_is_no_mean(page: Page) -> None:
    assert "mean of" not in page.table("Table 1")[1][1]


def test_notes_stand_below_table_1(page: Page) -> None:
    for i, doubt in enumerate(page_samples.DOUBTS, 1):
        assert ("li", {"id": f"note-{i}"}) in page.tags
        assert doubt in page.text
    links = [attrs for attrs in page.all("a") if attrs.get("href") == "#note-2"]
    assert links
    assert all(attrs["aria-label"] == "note 2" for attrs in links)


def test_what_was_not_measured_says_so(pages: dict[str, Page]) -> None:
    (line,) = pages["small"].table("Heads on")[1:]
    assert line[0] == "resnet50 study recipe"
    assert line[2:5] == ["not known", "3.68 s", "not timed"]
    assert parts_of(pages["small"]) == ["at-a-glance", "best", "table-1", "making"]


def test_heads_trained_at_once_say_so() -> None:
    report = Report((page_samples.with_rows(page_samples.small().sections[0], together=30),))
    assert Page(to_html(report)).table("Heads on")[1][3] == "3.68 s 30 heads at once"


def test_photographs_have_their_labels_and_pictures(page: Page) -> None:
    head, *lines = page.table("Our photographs")
    assert head[1:3] == ["vgg16 (study)", "vgg16 (standard)"]
    assert lines[0][:2] == ["frog 1.jpg", "airplane 23% automobile 10% bird 5%"]
    assert lines[3] == ["cut-off.jpg", *["can't be read: truncated after 12 bytes"] * 8]
    shown = [attrs for attrs in page.all("img") if attrs.get("class") == "photo"]
    assert [attrs["src"] for attrs in shown] == [photo.image for photo in FACTS.photos[:3]]
    published = page.table("Table 2 as published, on one NVIDIA T4")
    assert published[3] == ["ship 1", "✓", "✓", "plane", "plane"]
    assert "e / (e + C − 1), 23% for 10 classes" in page.text


def test_photographs_are_named_by_their_files_with_the_path_as_title(undrawn: Undrawn) -> None:
    facts = page_samples.own()
    photo = Photograph(Photo("/home/some body/pictures/frog 1.jpg", facts.photos[0].photo.labels))
    page = undrawn(dataclasses.replace(facts, photos=(photo,)))
    assert page.table("Our photographs")[1][0] == "frog 1.jpg"
    assert ("span", {"title": "/home/some body/pictures/frog 1.jpg"}) in page.tags
    assert "/home" not in page.text


def test_pairs_of_models_are_compared_with_both_p_values(page: Page) -> None:
    head, *lines = page.table("study recipe: difference of accuracies")
    assert head[-3:] == ["p", "p, Holm", "differ?"]
    assert lines[0] == ["vgg16 and vgg19", "312", "402", "−0.90", "−1.40 to −0.40", "0.00072", "0.0043", "yes"]
    assert lines[-1] == ["resnet50 and resnet152", "317", "352", "+0.10", "−0.40 to +0.60", "0.7373", "1.0000", "not shown"]


def test_what_was_not_trained_or_tested_alike_is_told(pages: dict[str, Page], undrawn: Undrawn) -> None:
    facts = page_samples.own()
    first, *others = facts.comparisons
    first = dataclasses.replace(first, note="not trained on the same images (240 and 24,000)")
    pair = undrawn(dataclasses.replace(facts, comparisons=(first, *others))).table(
        "study recipe: difference of accuracies"
    )[1][0]
    assert pair == "vgg16 and vgg19 not trained on the same images (240 and 24,000)"
    assert "vgg19, study: tested on other images than the others, not compared with them" in pages["apart"].text
    assert "comparisons" in parts_of(pages["apart"])


def test_heads_tested_on_other_images_are_not_ranked(pages: dict[str, Page]) -> None:
    # the head with 99 % was tested on 17 other images
    assert "99.00 %" in [line[1].partition(" 95")[0] for line in pages["apart"].table("Heads on")]
    assert "It is the highest of 3 heads on these images" in pages["apart"].text
    assert "99.00 % of" not in pages["apart"].text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (0.04567, "0.0457"), (0.000123456, "0.000123"), (1e-9, "< 0.0001"), (0, "< 0.0001")],
)
def test_p_values_are_said_with_as_many_digits_as_matter(value: float, text: str) -> None:
    assert probability(value) == text


def test_seeds_show_three_intervals(page: Page) -> None:
    line = page.table("Test accuracy over seeds")[1]
    analyses = HEADS["vgg16", "study"].analyses
    assert analyses is not None
    values = analyses.seeds.accuracies
    assert line == [
        "vgg16 study recipe", "85.21 % 30 seeds", "85.13 % to 85.29 %", "0.22 points",
        f"{percent(min(values))} to {percent(max(values))}", "84.55 % to 85.85 %", "84.50 % to 85.90 %",
        "21.4 s 30 heads at once",
    ]  # fmt: skip


def test_curves_have_a_table_of_means(page: Page) -> None:
    epochs = page.table("More epochs, study recipe")
    assert epochs[0] == ["model", "1", "2", "5", "10", "20", "50", "100"]
    analyses = HEADS["vgg16", "study"].analyses
    assert analyses is not None
    values = analyses.epochs[4].accuracies
    assert epochs[1][3] == f"{percent(sum(values) / 3)} {percent(min(values))} to {percent(max(values))}"
    assert page.table("More training images, equal epochs, study recipe")[0][1:] == [
        "100",
        "300",
        "1,000",
        "3,000",
        "10,000",
        "50,000",
    ]


def test_both_curves_of_training_images_are_named(pages: dict[str, Page]) -> None:
    text = pages["unfitted"].text
    for words in ("More training images, equal epochs, study recipe", "More training images, equal steps, study recipe"):
        assert words in text
    assert "With equal epochs, fewer images also mean fewer optimiser steps." in text


def test_a_curve_of_one_point_is_none(undrawn: Undrawn) -> None:
    facts = page_samples.with_analyses(page_samples.own(), sizes=(CurvePoint(100, (0.8, 0.9)),))
    assert "sizes" not in parts_of(undrawn(facts))


def test_without_a_temperature_the_reason_is_told(pages: dict[str, Page]) -> None:
    page = pages["unfitted"]
    line = page.table("Expected calibration error")[1]
    assert line[1:] == ["0.4231", "not fitted", "1.5512", "not fitted", "not fitted"]
    assert "vgg16, study recipe: no temperature was fitted, all 36 validation rows are right." in page.text
    assert "Temperatures were fitted with a head trained on 90 % of the rows." in page.text


def test_of_many_classes_the_worst_are_shown_and_it_is_said(pages: dict[str, Page]) -> None:
    page = pages["many classes"]
    recall = page.table("Recall of each class, study recipe")
    assert [line[0] for line in recall[1:]] == [f"species {i}" for i in range(149, 129, -1)]
    assert "Shown are the 20 of 150 classes that are found least often; all are in report.json." in page.text
    assert "Confusion matrices of more than 100 classes are in report.json only." in page.text
    assert "The legend names 24 of 150 classes; colours repeat." in page.text
    assert not any("Confusion matrix" in str(attrs["aria-label"]) for attrs in page.all("svg"))
    assert max(len(str(attrs["aria-label"])) for attrs in page.all("svg")) < 400


def test_a_class_without_test_images_says_so(undrawn: Undrawn) -> None:
    def without_dogs(head: HeadResults) -> HeadResults:
        return dataclasses.replace(head, recall={**head.recall, "dog": None})

    page = undrawn(page_samples.with_heads(page_samples.own(), without_dogs, "vgg16"))
    assert page.table("Recall of each class, study recipe")[2][:2] == ["dog", "no test image"]


def test_classes_show_recall_and_how_often_each_label_is_given(page: Page) -> None:
    it = HEADS["resnet50", "study"]
    recall, given = (
        page.table("Recall of each class, study recipe"),
        page.table("Labels given to test images, study recipe"),
    )
    assert [line[0] for line in recall[1:]] == list(FACTS.classes)
    assert [line[3] for line in recall[1:]] == [percent(it.recall[name] or 0) for name in FACTS.classes]
    assert [line[1] for line in given[1:]] == ["1,000"] * 10
    assert [line[4] for line in given[1:]] == [f"{it.predicted[name]:,}" for name in FACTS.classes]


def test_sigmoid_batch_norm_and_calibration_have_their_numbers(page: Page) -> None:
    line = page.table("Mean test accuracy with 95 % intervals, with the sigmoid")[1]
    assert line == ["vgg16", "85.21 % (85.01 % to 85.41 %)", "86.52 % (86.32 % to 86.71 %)", "+1.31"]
    lines = page.table("resnet152, 2,000 training and 1,000 test images")
    assert lines[1] == ["eval()", "62.77 % 62.50 % to 63.10 %", "3", "62.70 %, 63.10 %, 62.50 %"]
    assert lines[2][1].startswith("54.37 %")
    assert page.table("Expected calibration error")[1][1:] == ["0.4231", "0.0123", "1.5512", "0.4321", "0.141"]


def test_mistakes_and_disagreements_show_their_images(page: Page) -> None:
    alts = [str(attrs["alt"]) for attrs in page.all("img")]
    assert "test image 0: airplane, labelled cat with 99.9%" in alts
    assert [i for i, attrs in enumerate(page.all("details")) if "open" in attrs] == [7]  # resnet152, standard: the best
    assert len(page.all("details")) == 8
    assert page.table("Test images on which the models disagree")[1] == [
        "airplane test image 40", "airplane ✓", "automobile", "bird", "cat"
    ]  # fmt: skip


def test_losses_and_stages_have_tables(page: Page) -> None:
    assert page.table("Mean training loss")[1] == ["vgg16 study recipe", "5", "1.7100", "1.2792"]
    assert page.table("Milliseconds per image")[1] == ["vgg16", "0.013", "0.020", "0.470", "22.500", "0.025"]


def test_how_it_was_made_is_told(page: Page) -> None:
    assert page.table("Versions")[1:] == [["headstart", "0.1.0"], ["torch", "2.15.0"], ["numpy", "2.3.1"]]
    for words in ("AMD EPYC (Zen 4), 2 cores", "2026-11-22T12:00:00Z", "headstart study", "vgg16: IMAGENET1K_V1 0a1b2c3d"):
        assert words in page.text


def test_a_drawing_of_each_kind_is_there(page: Page) -> None:
    models, recipes = 4, 2
    # time, seeds, stages; losses, epochs, sizes, recall by recipe; confusion and reliability by both; two maps by model
    assert len(page.all("svg")) == 3 + 4 * recipes + 2 * models * recipes + 2 * models


NOTHING = "distances between its groups, and how large or dense they are, mean nothing (Wattenberg et al."


def test_each_model_has_both_maps_side_by_side(page: Page, html: dict[str, str]) -> None:
    assert "vgg19: PCA of the backbone's features, coloured by true class." in page.text
    assert "vgg19: t-SNE (perplexity 30, KL divergence 1.23) of the backbone's features, coloured" in page.text
    assert NOTHING in page.text
    titles = re.findall(r"Features of (\w+), ([\w-]+)<", html["whole"])
    assert titles == [(model, method) for model in page_samples.MODELS for method in ("PCA", "t-SNE")]


def test_published_models_that_were_not_run_have_colours_of_their_own() -> None:
    facts = page_samples.section(("resnet50",), points=40)
    (section,) = re.findall(r'<section id="table-1".*?</section>', to_html(page_samples.report(facts)), re.DOTALL)
    assert len(STUDY.table_1) == 4
    assert set(re.findall(r"stroke: var\(--(c\d)", section)) == {"c0", "c1", "c2", "c3"}


def test_one_seed_is_not_called_seeds() -> None:
    found = FACTS.batch_norm
    assert found is not None
    found = dataclasses.replace(found, accuracy_eval=(0.7,), accuracy_train=(0.5,), test_images=9)
    section = dataclasses.replace(page_samples.small().sections[0], batch_norm=found)
    assert "over 1 seed on 9 test images." in to_html(Report((section,)))


def test_a_report_without_tsne_shows_the_other_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.heads.report.page.figures.svg.draw", sketch)
    facts = page_samples.section(page_samples.MODELS[:2], points=40)
    maps = {model: it and dataclasses.replace(it, tsne=None) for model, it in facts.maps.items()}
    facts = dataclasses.replace(facts, maps=maps)
    text = to_html(page_samples.report(facts))
    assert re.findall(r"Map of 40 features of (\w+) by ([\w-]+)", text) == [("vgg16", "PCA"), ("vgg19", "PCA")]
    assert NOTHING not in text
    (section,) = re.findall(r'<section id="maps".*?</section>', text, re.DOTALL)
    assert section.count('<div class="grid">') == 1


def test_a_model_without_a_map_is_left_out(undrawn: Undrawn) -> None:
    facts = page_samples.section(page_samples.MODELS[:2], points=40)
    without = dataclasses.replace(facts, maps={**facts.maps, "vgg16": None})
    labels = [str(attrs["aria-label"]) for attrs in undrawn(without).all("svg")]
    assert [label.split()[5] for label in labels if label.startswith("Map of")] == ["vgg19", "vgg19"]


def test_the_findings_are_computed(page: Page) -> None:
    found = page.text[page.text.index("What was found") : page.text.index("Table 1: models compared")]
    for words in (
        "study recipe: resnet152 first with 87.04 % (86.38 % to 87.68 %), vgg16 last with 85.21 % (84.55 % to 85.85 %) "
        "on 10,000 test images, 95 % intervals. Read it with the notes at the rows.",
        "Against the published study, same recipe: vgg16 +3.34, vgg19 +4.18, resnet50 +5.77, resnet152 +5.11",
        "2 of 6 pairs of models differ at the 5 % level after Holm's correction. Not told apart: vgg16 and resnet152",
        "without it the accuracy changes by +1.31 (all 4 models) percentage points.",
        "resnet152: 54.37 % instead of 62.77 % (−8.40 points), over 3 seeds on 1,000 test images.",
        "from 10m 16s (vgg16) to 31m 05s (resnet152); 99% to 100% of it is the extraction",
        "backbone 98% (vgg16) to 99% (resnet152).",
        "0.4231 (all 4 models) as trained, 0.0123 (all 4 models) after a temperature",
        "all heads gave the same label to 3 of 3.",
    ):
        assert words in found


# ------------------------------------------------------------------------------------------------------- the best head


def test_the_owners_questions_are_answered(pages: dict[str, Page]) -> None:
    page, facts = pages["own"], SAMPLES["own"].sections[0]
    best = max(facts.rows, key=lambda row: row.accuracy)
    it = next(head for head in facts.heads if (head.model, head.settings) == (best.model, best.settings))
    for words in (
        f"{percent(best.accuracy)} of 60 test images get their right label from vgg19 (standard), mean of 3 seeds.",
        f"95 % interval: {percent(best.interval[0])} to {percent(best.interval[1])}, over seeds and images.",
        "It is the highest of 4 heads on these images, so expect a little less on new ones (all heads).",
        "Found least often: ",
        "More pictures? ",
        "points from 10,000 to 50,000 training images (curve).",
        "Mended labels? Look through the mistakes it is surest of: where the label is wrong, not the head, mend it.",
        "Another backbone? vgg19 compared with vgg16: +0.90 points (+0.40 to +1.40)",
        "headstart predict --head runs/vgg19-standard-mlp-20261122-120000 PICTURES...",
        "headstart bench-inference --head runs/vgg19-standard-mlp-20261122-120000",
    ):
        assert words in page.text, words
    matrix = it.confusion
    wrong = sum(map(sum, matrix)) - sum(matrix[i][i] for i in range(3))
    assert f"{wrong:,} of 3,000; those it is surest of (more):" in page.text
    most = max((matrix[i][j], i, j) for i in range(3) for j in range(3) if i != j)
    assert f"{facts.classes[most[1]]} taken for {facts.classes[most[2]]}, {most[0]} times" in page.text
    shown = [attrs for attrs in page.all("img") if str(attrs["alt"]).startswith("test image")]
    assert [attrs["src"] for attrs in shown[:6]] == [mistake.image for mistake in it.mistakes[:6]]


def test_what_was_measured_of_the_best_head_is_said_instead_of_how_to(undrawn: Undrawn) -> None:
    facts = page_samples.with_rows(page_samples.own(), -1, inference=Inference(60, 1.2))
    assert "50.0 images a second, raw image to label (60 images, cpu (AMD EPYC))." in undrawn(facts).text
    assert "bench-inference --head" not in undrawn(facts).text


def test_what_is_not_known_is_not_answered(pages: dict[str, Page]) -> None:
    text = pages["rows only"].text
    assert "How good is the best head?" in text
    assert "How do I use it?" in text
    for question in ("Which classes are confused?", "Which pictures are wrong?", "Mended labels?"):
        assert question not in text
    assert "More pictures? Not measured. This draws the curve:headstart train-head --curve" in text


def test_a_head_without_mistakes_has_none(undrawn: Undrawn) -> None:
    right = ((5, 0, 0), (0, 5, 0), (0, 0, 5))
    facts = page_samples.with_heads(
        page_samples.own(), lambda head: dataclasses.replace(head, confusion=right, mistakes=()), "vgg19", "standard"
    )
    text = undrawn(facts).text
    assert "None: every test image got its label." in text
    assert "Which pictures are wrong?" not in text


def test_a_wide_interval_and_a_lone_backbone_are_told(pages: dict[str, Page]) -> None:
    text = pages["one image"].text
    assert "That is wide: with more test images it would be narrower." in text
    assert "Only vgg16 was tried; headstart models lists the others." in text


@pytest.mark.parametrize(
    ("last", "verdict"), [((0.9, 0.91), "Probably: +10.50 points"), ((0.79, 0.82), "Hardly: +0.50 points")]
)
def test_more_pictures_would_help_where_the_curve_still_rises(
    last: tuple[float, ...], verdict: str, undrawn: Undrawn
) -> None:
    curve = (CurvePoint(100, (0.8, 0.8)), CurvePoint(190, last), CurvePoint(200, last))
    facts = page_samples.with_analyses(page_samples.own(), "vgg19", "standard", sizes_equal_steps=curve)
    assert f"More pictures? {verdict} from 100 to 200 training images (curve)." in undrawn(facts).text


def test_a_few_shot_curve_answers_for_more_pictures_and_is_drawn(undrawn: Undrawn) -> None:
    curve = make_curve()
    facts = page_samples.with_rows(page_samples.own(), curve=curve, trained_by=("--key", "1a2b3c4d"))
    page = undrawn(facts)
    assert f"More pictures? {sentence(curve)} (curve)." in page.text
    assert "Not measured" not in page.text
    assert parts_of(page).index("few-shot") < parts_of(page).index("sizes")
    assert "vgg16: 62.50 % at 50 to 75.00 % at 100" in " ".join(str(it["aria-label"]) for it in page.all("svg"))
    assert page.table("vgg19 (standard): accuracy on 1,300 images that were not trained on")[1:] == [
        ["50", "62.50%", "± 3.12", "50.00%", "75.00%", "3"],
        ["100", "75.00%", "± 1.56", "75.00%", "75.00%", "1"],
    ]


def test_a_curve_of_one_point_is_told_and_not_drawn(undrawn: Undrawn) -> None:
    curve = make_curve(points=make_curve().points[1:], gain=None)
    page = undrawn(page_samples.with_rows(page_samples.own(), curve=curve))
    assert "can't be told: 100 training images are too few to leave half of them out." in page.text
    assert not [it for it in page.all("svg") if str(it["aria-label"]).startswith("Few-shot curve")]


def test_a_curve_that_was_not_measured_can_be_had_by_the_command_that_is_named(undrawn: Undrawn) -> None:
    rows = page_samples.own().rows
    facts = page_samples.with_rows(page_samples.bare(rows), trained_by=("--key", "1a2b3c4d", "--group-by", "cat (.*)"))
    assert "This draws the curve:headstart train-head --key 1a2b3c4d --group-by 'cat (.*)' --curve" in undrawn(facts).text


def test_the_study_page_says_how_to_use_its_best_head_below_its_tables(page: Page) -> None:
    parts = parts_of(page)
    assert parts.index("best") > parts.index("table-2")
    assert "headstart predict --head runs/resnet152-standard-mlp" in page.text


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("vgg16-study-mlp", "headstart predict --head runs/vgg16-study-mlp PICTURES"),
        ("two words; rm", "headstart predict --head 'runs/two words; rm' PICTURES"),
    ],
)
def test_a_command_can_be_typed_as_it_stands(run: str, words: str) -> None:
    assert command("predict", dataclasses.replace(FACTS.rows[0], run=run), "PICTURES") == words


@pytest.mark.parametrize(("p", "verdict"), [(0.01, "differ"), (0.2, "are not told apart")])
def test_a_single_pair_is_no_share_of_pairs(p: float, verdict: str, undrawn: Undrawn) -> None:
    facts = page_samples.own()
    facts = dataclasses.replace(facts, comparisons=tuple(page_samples.with_p(pair, p) for pair in facts.comparisons))
    assert f"Differences, study recipe: the two models {verdict} at the 5 % level." in undrawn(facts).text


def test_of_many_pairs_some_are_named(undrawn: Undrawn) -> None:
    facts = page_samples.own(tuple(f"m{i}" for i in range(5)))
    facts = dataclasses.replace(facts, comparisons=tuple(page_samples.with_p(pair, 0.5) for pair in facts.comparisons))
    assert (
        "Not told apart: m0 and m1, m0 and m2, m0 and m3, m0 and m4, m1 and m2, m1 and m3 and 4 more."
        in undrawn(facts).text
    )


def test_of_many_heads_some_have_figures_and_it_is_said(undrawn: Undrawn) -> None:
    page = undrawn(page_samples.own(tuple(f"m{i}" for i in range(15))))
    labels = [str(attrs["aria-label"]) for attrs in page.all("svg")]
    assert sum(label.startswith("Confusion matrix") for label in labels) == 2 * 12
    assert sum(label.startswith("Reliability") for label in labels) == 12
    assert len(page.all("details")) == 12
    assert len([attrs for attrs in page.all("div") if attrs.get("class") == "card"]) == 12
    for words in (
        "3 more models stand in the table.",
        "The confusion matrices of the first 12 of 15 heads are drawn.",
        "The figures of the first 12 of 30 heads are drawn.",
        "18 more heads have theirs in report.json.",
    ):
        assert words in page.text


def test_a_table_of_many_columns_is_several() -> None:
    head = ["class", *(f"m{i}" for i in range(20))]
    page = Page(table("Recall", head, [["cat", *map(str, range(20))], ["dog", *map(str, range(20, 40))]]))
    assert [len(rows[0]) for rows in page.tables] == [9, 9, 5]
    assert [rows[2][0] for rows in page.tables] == ["dog"] * 3
    assert [cell for rows in page.tables for cell in rows[1][1:]] == list(map(str, range(20)))
    assert page.captions[1] == "Recall (columns 9 to 16 of 20)"


# --------------------------------------------------------------------------------------------- what is not there, names


@pytest.mark.parametrize(
    ("part", "report"), list(page_samples.with_gaps()), ids=lambda it: it if isinstance(it, str) else ""
)
def test_what_is_not_there_is_left_out(part: str, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.core.heads.report.page.figures.svg.draw", sketch)
    page = Page(to_html(report))
    assert page.faults == []
    assert "None" not in page.text
    assert "nan" not in re.findall(r"\w+", page.text)


@pytest.mark.parametrize("sections", [(), (page_samples.bare(),), (page_samples.bare(),) * 2], ids=["none", "one", "two"])
def test_a_report_without_anything_makes_a_page_that_says_how(sections: tuple[Section, ...]) -> None:
    page = Page(to_html(Report(sections)))
    assert page.faults == []
    assert [attrs["id"] for attrs in page.all("section")] == ["making"]


def test_names_cannot_leave_their_place(html: dict[str, str], pages: dict[str, Page]) -> None:
    page = pages["hostile"]
    assert not page.all("script")
    assert not page.all("b")
    assert len(page.all("title")) == 1 + len(page.all("image"))  # the page's, and one for each picture on a map
    assert len(page.all("style")) == 1
    assert all(not key.startswith("on") for _, attrs in page.tags for key in attrs)
    for name in page_samples.HOSTILE:
        shown = re.sub("[\x00\ud800\x1b\u202e]", "\ufffd", name)
        assert any(shown in data for _, data in page.texts), ascii(name)
    html["hostile"].encode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", html["hostile"])


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org/a.png",
        "data:image/svg+xml;base64,AAAA",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64,",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AA AA",
        'data:image/png;base64,AAAA" onerror="x',
        "data:image/png;base64,AAAA\n",
        "javascript:alert(1)",
        "",
    ],
)
def test_only_png_and_jpeg_within_the_document_are_pictures(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^photos\[0\]\.image: expected data:image/png;base64,… or .* found "):
        picture(uri, "photos[0].image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_passes_unchanged(kind: str) -> None:
    uri = page_samples.picture(1, kind=kind)
    assert picture(uri, "here") == uri


ELSEWHERE = "http://a"
ALONE = HeadResults("m", "r", (0.0, 1.0), ((1,),), {}, {}, {}, {}, (Mistake(1, "a", "b", 0.9, ELSEWHERE),))
MAP = FeatureMap(Projection("PCA", ((0.0, 0.0, 0),), (Thumbnail(0.0, 0.0, 1, ELSEWHERE),)), None)
PLACES: dict[str, dict[str, Any]] = {
    "photos[0].image": {"photos": (Photograph(Photo("a", {}), ELSEWHERE),)},
    "figure_1.images[0].image": {"preprocessing": Preprocessing("a", (TitledImage("a", ELSEWHERE),))},
    "models.m.r.mistakes[0].image": {"heads": (ALONE,), "classes": ("a",)},
    "disagreements[0].image": {"disagreements": (Disagreement(1, "a", {}, ELSEWHERE),)},
    "maps.m.thumbnails[0].image": {"maps": {"m": MAP}, "classes": ("a",)},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_picture_from_elsewhere_is_refused_wherever_it_stands(place: str) -> None:
    section = dataclasses.replace(page_samples.bare(), **PLACES[place])
    with pytest.raises(ValueError, match=f"^{re.escape(f'sections[0].{place}')}: expected data:image/png"):
        to_html(Report((section,)))


def test_one_time_of_one_model_is_said_once(undrawn: Undrawn) -> None:
    facts = page_samples.own()
    one = dataclasses.replace(facts.rows[0], extraction_s=0.5, training_s=0.08, together=1)
    text = undrawn(dataclasses.replace(facts, rows=(one,), heads=())).text
    assert "Time to a trained head: 0.58 s; 86% of it is the extraction" in text
