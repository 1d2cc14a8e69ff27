"""The report's page: well formed, honest about what stands beside what, nothing unescaped, every number the document's."""

import itertools
import re
from html.parser import HTMLParser
from typing import Any

import page_samples
import pytest

from heads.page import PARTS, POLICY, to_html
from heads.page_html import picture
from heads.page_study import probability
from heads.report import percent, seconds

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


FACTS = page_samples.whole()
SAMPLES = {"whole": FACTS, "two": page_samples.whole(page_samples.MODELS[:2], points=50), "small": page_samples.small()}
SAMPLES["hostile"] = page_samples.hostile()


@pytest.fixture(scope="module")
def html() -> dict[str, str]:
    return {name: to_html(facts) for name, facts in SAMPLES.items()}


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
        plain = rows[1:] if rows[0] and rows[0][0] == "" else rows  # less the names of groups of columns
        assert len({len(row) for row in plain}) == 1


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


def test_every_part_is_there_and_in_the_contents(page: Page) -> None:
    parts = [attrs["id"] for attrs in page.all("section")]
    assert parts == list(PARTS)
    assert [attrs["href"] for attrs in page.all("a")][1 : len(PARTS) + 1] == [f"#{part}" for part in PARTS]


def test_the_doubts_stand_in_the_title_line(html: dict[str, str]) -> None:
    doubts = "; ".join(page_samples.DOUBTS).replace("'", "&#x27;")
    assert f'<h1>Frozen backbones compared <span class="doubts">({doubts})</span></h1>' in html["whole"]
    assert f"<title>Frozen backbones compared ({doubts})</title>" in html["whole"]
    assert "<h1>Frozen backbones compared</h1>" in html["small"]


def test_table_1_holds_each_runs_numbers(page: Page) -> None:
    _, _, *lines = page.table("Table 1: our runs")
    assert len(lines) == len(FACTS["rows"])
    for line, row in zip(lines, FACTS["rows"], strict=True):
        low, high = row["interval"]
        assert line[0] == f"{row['model']} {row['recipe']} recipe"
        assert line[1] == ", ".join(f"note {i + 1}" for i in range(len(row["notes"])))
        assert line[2:4] == [seconds(row["extraction_s"]), seconds(row["training_s"])]
        timed = row["inference"] and f"{seconds(row['inference']['elapsed_s'])} 10,000 images"
        assert line[4] == (timed or "not timed")
        assert line[5:7] == [percent(row["accuracy"]), f"{percent(low)} to {percent(high)}"]
        assert line[7].startswith("24,000 / 10,000")


def test_published_figures_stand_in_columns_of_their_own_with_their_hardware(page: Page) -> None:
    groups, head, *lines = page.table("Table 1: our runs")
    assert groups == ["", "ours, on AMD EPYC (Zen 4), 2 cores, bfloat16", "published, on one NVIDIA T4"]
    spans = [attrs.get("colspan") for tag, attrs in page.tags if tag in ("td", "th") and attrs.get("colspan")]
    assert spans == ["2", "6", "3"]
    assert len(head) == 11
    beside = {line[0].split()[0]: line[8:] for line in lines if line[8] != "–"}
    assert beside == {
        model: [seconds(it["training_s"]), seconds(it["inference_s"]), percent(it["accuracy"])]
        for model, it in FACTS["published"]["table_1"].items()
    }


def test_a_published_model_that_was_not_run_has_a_line_of_its_own(pages: dict[str, Page]) -> None:
    lines = {line[0]: line[1:] for line in pages["two"].table("Table 1: our runs")}
    assert lines["resnet152"] == ["not run here", *["–"] * 6, "22m 04s", "1m 45s", "81.93 %"]


def test_notes_stand_below_table_1(page: Page) -> None:
    for i, doubt in enumerate(page_samples.DOUBTS, 1):
        assert ("li", {"id": f"note-{i}"}) in page.tags
        assert doubt in page.text


def test_what_was_not_measured_says_so(pages: dict[str, Page]) -> None:
    (line,) = pages["small"].table("Table 1: our runs")[2:]
    assert line[1:5] == ["none", "not known", "3.68 s", "not timed"]
    assert [attrs["id"] for attrs in pages["small"].all("section")] == ["findings", "table-1", "making"]


def test_heads_trained_at_once_say_so() -> None:
    facts = page_samples.small()
    facts["rows"][0]["together"] = 30
    assert Page(to_html(facts)).table("Table 1")[2][3] == "3.68 s 30 heads at once"


def test_photographs_have_their_labels_and_pictures(page: Page) -> None:
    head, *lines = page.table("Table 2: our photographs")
    assert head[1:3] == ["vgg16 study", "vgg16 standard"]
    assert lines[0][:2] == ["frog 1.jpg", "airplane 23% automobile 10% bird 5%"]
    assert lines[3] == ["cut-off.jpg", *["can't be read: truncated after 12 bytes"] * 8]
    shown = [attrs for attrs in page.all("img") if attrs.get("class") == "photo"]
    assert [attrs["src"] for attrs in shown] == [photo["image"] for photo in FACTS["photos"][:3]]
    published = page.table("Table 2 as published, on one NVIDIA T4")
    assert published[2] == ["ship 1", "✓", "✓", "plane", "plane"]
    assert "e / (e + C − 1), 23% for 10 classes" in page.text


def test_pairs_of_models_are_compared_with_both_p_values(page: Page) -> None:
    head, *lines = page.table("study recipe: difference of accuracies")
    assert head[-3:] == ["p", "p, Holm", "differ?"]
    assert lines[0] == ["vgg16 and vgg19", "312", "402", "−0.90", "−1.40 to −0.40", "0.00072", "0.0043", "yes"]
    assert lines[-1] == ["resnet50 and resnet152", "317", "352", "+0.10", "−0.40 to +0.60", "0.7373", "1.0000", "not shown"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (0.04567, "0.0457"), (0.000123456, "0.000123"), (1e-9, "< 0.0001"), (0, "< 0.0001")],
)
def test_p_values_are_said_with_as_many_digits_as_matter(value: float, text: str) -> None:
    assert probability(value) == text


def test_seeds_show_three_intervals(page: Page) -> None:
    line = page.table("Test accuracy over seeds")[1]
    it = FACTS["models"]["vgg16"]["study"]
    values = it["seeds"]["accuracies"]
    assert line == [
        "vgg16 study recipe", "30", "85.21 %", "85.13 % to 85.29 %", "0.22 points",
        f"{percent(min(values))} to {percent(max(values))}", "84.55 % to 85.85 %", "84.50 % to 85.90 %",
        "21.4 s 30 heads at once",
    ]  # fmt: skip


def test_curves_have_a_table_of_means(page: Page) -> None:
    epochs = page.table("More epochs, study recipe")
    assert epochs[0] == ["model", "1", "2", "5", "10", "20", "50", "100"]
    values = FACTS["models"]["vgg16"]["study"]["epochs"][4]["accuracies"]
    assert epochs[1][3] == f"{percent(sum(values) / 3)} {percent(min(values))} to {percent(max(values))}"
    assert page.table("More training images, study recipe")[0][1:] == ["100", "300", "1,000", "3,000", "10,000", "50,000"]


def test_classes_show_recall_and_how_often_each_label_is_given(page: Page) -> None:
    it = FACTS["models"]["resnet50"]["study"]
    recall, given = (
        page.table("Recall of each class, study recipe"),
        page.table("Labels given to test images, study recipe"),
    )
    assert [line[0] for line in recall[1:]] == FACTS["classes"]
    assert [line[3] for line in recall[1:]] == [percent(it["recall"][name]) for name in FACTS["classes"]]
    assert [line[1] for line in given[1:]] == ["1,000"] * 10
    assert [line[4] for line in given[1:]] == [f"{it['predicted'][name]:,}" for name in FACTS["classes"]]


def test_sigmoid_batch_norm_and_calibration_have_their_numbers(page: Page) -> None:
    line = page.table("Mean test accuracy with 95 % intervals, with the sigmoid")[1]
    assert line == ["vgg16", "85.21 % (85.01 % to 85.41 %)", "86.52 % (86.32 % to 86.71 %)", "+1.31"]
    lines = page.table("resnet152, 2,000 training and 1,000 test images")
    assert lines[1] == ["eval()", "62.77 % 62.50 % to 63.10 %", "3", "62.70 %, 63.10 %, 62.50 %"]
    assert lines[2][1].startswith("54.37 %")
    assert page.table("Expected calibration error")[1][1:] == ["0.4231", "0.0123", "1.5512", "0.4321", "0.141"]


def test_mistakes_and_disagreements_show_their_images(page: Page) -> None:
    alts = [str(attrs["alt"]) for attrs in page.all("img")]
    assert "Test image 0: airplane, labelled cat with 99.9%" in alts
    assert len(page.all("details")) == 8
    assert page.table("Test images on which the models disagree")[1] == [
        "airplane test image 40", "airplane ✓", "automobile", "bird", "cat"
    ]  # fmt: skip


def test_losses_and_stages_have_tables(page: Page) -> None:
    assert page.table("Mean training loss")[1] == ["vgg16 study", "5", "1.7100", "1.2792"]
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


def test_each_model_has_both_maps_side_by_side(page: Page) -> None:
    assert "vgg19: PCA of the backbone's features, coloured by true class." in page.text
    assert "vgg19: t-SNE (perplexity 30, KL divergence 1.23) of the backbone's features, coloured" in page.text
    assert NOTHING in page.text
    titles = re.findall(r"Features of (\w+), ([\w-]+)<", to_html(page_samples.whole(points=40)))
    assert titles == [(model, method) for model in page_samples.MODELS for method in ("PCA", "t-SNE")]


def test_published_models_that_were_not_run_have_colours_of_their_own() -> None:
    facts = page_samples.whole(("resnet50",), points=40)
    (section,) = re.findall(r'<section id="table-1".*?</section>', to_html(facts), re.DOTALL)
    assert len(facts["published"]["table_1"]) == 4
    assert set(re.findall(r"stroke: var\(--(c\d)", section)) == {"c0", "c1", "c2", "c3"}


def test_one_seed_is_not_called_seeds() -> None:
    facts = page_samples.small() | {"batch_norm": {"model": "vgg16", "eval": [0.7], "train": [0.5], "test_images": 9}}
    assert "over 1 seed on 9 test images." in to_html(facts)


@pytest.mark.parametrize("left", [None, {}, "absent"], ids=["null", "empty", "absent"])
def test_a_report_without_tsne_shows_the_other_map(left: Any) -> None:
    facts = page_samples.whole(page_samples.MODELS[:2], points=40)
    for it in facts["maps"].values():
        it["tsne"] = left
        if left == "absent":
            del it["tsne"]
    text = to_html(facts)
    assert re.findall(r"Features of (\w+), ([\w-]+)<", text) == [("vgg16", "PCA"), ("vgg19", "PCA")]
    assert NOTHING not in text
    (section,) = re.findall(r'<section id="maps".*?</section>', text, re.DOTALL)
    assert section.count('<div class="grid">') == 1


def test_a_model_without_a_map_is_left_out() -> None:
    facts = page_samples.whole(page_samples.MODELS[:2], points=40)
    facts["maps"]["vgg16"] = None
    assert re.findall(r"Features of (\w+), PCA<", to_html(facts)) == ["vgg19"]


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


# --------------------------------------------------------------------------------------------- what is not there, names


@pytest.mark.parametrize(
    ("part", "facts"), list(page_samples.with_nulls()), ids=lambda it: it if isinstance(it, str) else ""
)
def test_what_is_null_is_left_out(part: str, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # drawing is test_figures' matter, and takes a second for a page
    monkeypatch.setattr("heads.page_svg.draw", lambda *_, **__: "<svg></svg>")
    page = Page(to_html(facts))
    assert page.faults == []
    assert "None" not in page.text
    assert "nan" not in re.findall(r"\w+", page.text)


@pytest.mark.parametrize("facts", [{}, {"title": None, "rows": None}, {"rows": [], "models": {}, "unknown": {"a": 1}}])
def test_facts_without_anything_make_a_page_that_says_how(facts: dict[str, Any]) -> None:
    page = Page(to_html(facts))
    assert page.faults == []
    assert [attrs["id"] for attrs in page.all("section")] == ["making"]


def test_names_cannot_leave_their_place(html: dict[str, str], pages: dict[str, Page]) -> None:
    page = pages["hostile"]
    assert not page.all("script")
    assert not page.all("b")
    assert len(page.all("title")) == len(page.all("style")) == 1
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
        7,
        None,
    ],
)
def test_only_png_and_jpeg_within_the_document_are_pictures(uri: Any) -> None:
    with pytest.raises(ValueError, match=r"^photos\[0\]\.image: expected data:image/png;base64,… or .* found "):
        picture(uri, "photos[0].image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_passes_unchanged(kind: str) -> None:
    uri = page_samples.picture(1, kind=kind)
    assert picture(uri, "here") == uri


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        ("photos[0].image", {"photos": [{"name": "a", "labels": {}, "image": "http://a"}]}),
        ("figure_1.images[0].image", {"figure_1": {"images": [{"title": "a", "image": "http://a"}]}}),
        ("models.m.r.mistakes[0].image", {"models": {"m": {"r": {"mistakes": [{"row": 1, "image": "http://a"}]}}}}),
        ("disagreements[0].image", {"disagreements": [{"row": 1, "label": "a", "image": "http://a", "predicted": {}}]}),
        (
            "maps.m.thumbnails[0].image",
            {
                "maps": {"m": {"points": [[0, 0, 0]], "thumbnails": [{"x": 0, "y": 0, "image": "http://a"}]}},
                "classes": ["a"],
            },
        ),
    ],
)
def test_a_picture_from_elsewhere_is_refused_wherever_it_stands(place: str, facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(place)}: expected data:image/png"):
        to_html(facts)
