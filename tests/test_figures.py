"""The figures: valid SVG that asks for nothing, the same each time, whatever classes and models are called."""

import dataclasses
import re
import threading
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

import matplotlib
import page_samples
import pytest

from headstart.core.heads.report.page.figures import classes, curves, maps, marks, reliability, seeds, times
from headstart.core.heads.report.page.figures import svg as page_svg
from headstart.core.heads.statistics.compare import over_seeds
from headstart.core.heads.statistics.maps import Projection, Thumbnail
from headstart.core.heads.study.results import Analyses, CurvePoint

FACTS = page_samples.section(points=80)
ORDER = list(page_samples.MODELS)
STUDY = {head.model: head for head in FACTS.heads if head.settings == "study"}
ANALYSES = {model: head.analyses for model, head in STUDY.items() if head.analyses}
CLASSES = FACTS.classes
PUBLISHED = FACTS.published
MAP = FACTS.maps["vgg16"]
assert MAP is not None
assert MAP.tsne is not None
PCA, TSNE = MAP.pca, MAP.tsne
DOTS = [
    seeds.SeedDots(head.model, head.settings, head.analyses.seeds.accuracies, head.spread, head.analyses.both)
    for head in FACTS.heads
    if head.analyses and head.spread
]


def of(points: Callable[[Analyses], Sequence[CurvePoint]]) -> dict[str, Sequence[CurvePoint]]:
    """A curve of the study recipe, by model."""
    return {model: points(it) for model, it in ANALYSES.items()}


def some(*points: tuple[float, float, int], thumbnails: tuple[Thumbnail, ...] = ()) -> Projection:
    """A map of these points."""
    return Projection("projection", points, thumbnails)


FIGURES: dict[str, Callable[[], str]] = {
    "time": lambda: times.time_accuracy("k", FACTS.rows, PUBLISHED, ORDER),
    "stages": lambda: times.stage_bars("k", FACTS.stages),
    "losses": lambda: curves.losses("k", "study", FACTS.rows, ORDER),
    "epochs": lambda: curves.curve("k", "More epochs", "epochs (number)", of(lambda it: it.epochs), ORDER),
    "sizes": lambda: curves.curve("k", "More images", "training images (number)", of(lambda it: it.sizes), ORDER),
    "confusion": lambda: classes.confusion("k", "vgg16", STUDY["vgg16"].confusion, CLASSES),
    "recall": lambda: classes.recall("k", "study", {model: it.recall for model, it in STUDY.items()}, CLASSES, ORDER),
    "reliability": lambda: reliability.reliability("k", "vgg16", ANALYSES["vgg16"].calibration),
    "seeds": lambda: seeds.seeds("k", DOTS, ORDER),
    "map": lambda: maps.feature_map("k", "vgg16", PCA, CLASSES, "maps.vgg16"),
    "tsne": lambda: maps.feature_map("k", "vgg16", TSNE, CLASSES, "maps.vgg16.tsne"),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return {name: draw() for name, draw in FIGURES.items()}


def texts(svg: str) -> list[str]:
    """All text of a figure."""
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("}text")]


def words(svg: str) -> str:
    """What a figure says to who can't see it."""
    return ElementTree.fromstring(svg).attrib["aria-label"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_svg_with_title_axes_and_words(name: str, drawn: dict[str, str]) -> None:
    root = ElementTree.fromstring(drawn[name])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["role"] == "img"
    assert len(root.attrib["aria-label"]) > 30
    bold = [node for node in root.iter() if node.tag.endswith("}text") and "700" in node.attrib.get("style", "")]
    assert len(bold) == 1  # the title
    units = ("(%)", "(s)", "(ms)", "(number)", "(nats)", "class", "of the variance)", "(no unit)")
    assert any(text.endswith(units) for text in texts(drawn[name]))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_asks_for_nothing_and_knows_no_day(name: str, drawn: dict[str, str]) -> None:
    links = re.findall(r"(?:https?:)?//[^\s\"'<]+", re.sub(r"data:[^\"]*", "", drawn[name]))
    assert set(links) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(script|style|metadata|!|\?)|DejaVu|\bdate\b", drawn[name])
    assert not re.search(r"#(000000|ffffff)", drawn[name])


@pytest.mark.parametrize("name", FIGURES)
def test_every_colour_follows_the_page(name: str, drawn: dict[str, str]) -> None:
    plain = re.sub(r"var\(--\w+, #[0-9a-f]{6}\)|data:[^\"]*", "", drawn[name])
    assert not re.search(r"#[0-9a-f]{6}\b", plain)
    assert "var(--ink, " in drawn[name]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_each_time(name: str, drawn: dict[str, str]) -> None:
    assert FIGURES[name]() == drawn[name]


@pytest.mark.parametrize("name", FIGURES)
def test_identifiers_are_the_figures_own_and_all_there(name: str, drawn: dict[str, str]) -> None:
    names = re.findall(r' id="([^"]*)"', drawn[name])
    used = re.findall(r'(?:url\(#|href="#)([^")]*)', drawn[name])
    assert len(set(names)) == len(names)
    assert set(names) == set(used)
    assert all(name.startswith("k-") for name in names)


def test_nobodys_settings_change_a_figure_and_a_figure_changes_nobodys(drawn: dict[str, str]) -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert FIGURES["stages"]() == drawn["stages"]
        assert matplotlib.rcParams["font.size"] == 30


def test_threads_draw_the_same_figures(drawn: dict[str, str]) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(FIGURES["reliability"]())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [drawn["reliability"]] * 4


@pytest.mark.parametrize("name", page_samples.HOSTILE, ids=ascii)
def test_any_name_can_be_drawn(name: str) -> None:
    svg = classes.confusion("k", name, [[3, 1], [0, 4]], [name, "cat"])
    assert "cat" in texts(svg)
    assert not any(node.tag.endswith("}script") for node in ElementTree.fromstring(svg).iter())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("日本語", "日本語"),
        ("a $x^2$ <b> & \"c'", "a $x^2$ <b> & \"c'"),
        ("two\nlines\t", "two lines"),
        ("a\x00\ud800b", "a\ufffd\ufffdb"),
        ("x⟨60⟩y", "x⟨60⟩y"),
        ("a name that is far too long for an axis", "a name that is far to…"),
    ],
)
def test_names_stay_readable(name: str, shown: str) -> None:
    svg = times.stage_bars("k", {name: {"read": 0.001}})
    row = dataclasses.replace(FACTS.rows[0], model=name, losses=(1.0, 0.5))
    found = curves.losses("k", "study", [row], [name])
    assert shown in texts(found)
    assert "read" in texts(svg)


def test_the_words_hold_the_main_numbers(drawn: dict[str, str]) -> None:
    assert "vgg16 study: 85.21 % after 10m 16s" in words(drawn["time"])
    assert "published, one NVIDIA T4: resnet50 80.66 % after 12m 23s" in words(drawn["time"])
    assert "vgg16: read 0.013, transfer 0.02, preprocess 0.47, backbone 22.5, head 0.025" in words(drawn["stages"])
    assert "vgg16: 1.7100 to 1.2792" in words(drawn["losses"])
    assert "expected calibration error 0.4231; after a temperature of 0.141 0.0123" in words(drawn["reliability"])
    assert "vgg16 study: mean 85.21 % of 30 seeds, interval 85.13 % to 85.29 %" in words(drawn["seeds"])
    assert "axis 1 of PCA (12% of the variance)" in words(drawn["map"])
    assert "of vgg16 by t-SNE (perplexity 30, KL divergence 1.23): axis 1 of t-SNE (no unit)" in words(drawn["tsne"])
    right = sum(STUDY["vgg16"].confusion[i][i] for i in range(10))
    assert f"{right:,} of 10,000 right" in words(drawn["confusion"])


def test_published_points_are_labelled_as_other_hardware(drawn: dict[str, str]) -> None:
    assert "published, one NVIDIA T4" in texts(drawn["time"])
    assert "published" not in times.time_accuracy("k", FACTS.rows, None, ORDER)


def test_counts_stand_in_the_cells_of_up_to_20_classes() -> None:
    def matrix(many: int) -> str:
        names = [f"class {i}" for i in range(many)]
        return classes.confusion("k", "x", [[977 if i == j else 0 for i in range(many)] for j in range(many)], names)

    assert texts(matrix(20)).count("977") == 20
    assert "977" not in texts(matrix(21))
    assert matrix(101) == ""


def test_a_matrix_that_does_not_fit_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^confusion matrix of x: expected 3 rows and columns, one for each class$"):
        classes.confusion("k", "x", [[1, 2], [3, 4]], ["a", "b", "c"])


def test_the_most_frequent_mix_up_comes_first() -> None:
    found = classes.mix_ups([[5, 1, 0], [7, 9, 2], [0, 0, 4]], ["a", "b", "c"])
    assert found == [(7, "b", "a"), (2, "b", "c"), (1, "a", "b")]


def test_thumbnails_are_pictures_within_the_page_that_do_not_cover_each_other(drawn: dict[str, str]) -> None:
    root = ElementTree.fromstring(drawn["map"])
    found = [node.attrib for node in root.iter() if node.tag.endswith("}image")]
    assert found
    assert all(it["href"].startswith("data:image/png;base64,") for it in found)
    places = [(float(it["x"]), float(it["y"])) for it in found]
    apart = [max(abs(x - a), abs(y - b)) for i, (x, y) in enumerate(places) for a, b in places[:i]]
    assert min(apart) >= 24
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert all(0 <= x <= width - 24 and 0 <= y <= height - 24 for x, y in places)


def test_a_thumbnail_from_elsewhere_is_refused() -> None:
    found = some((0, 0, 0), (1, 1, 1), thumbnails=(Thumbnail(0, 0, 3, "https://example.org/a.png"),))
    with pytest.raises(ValueError, match=r"^maps\.m\.thumbnails\[0\]\.image: expected data:image/png"):
        maps.feature_map("k", "m", found, ["a", "b"], "maps.m")


def test_a_thumbnail_without_its_picture_is_left_out() -> None:
    found = some((0, 0, 0), (1, 1, 1), thumbnails=(Thumbnail(0, 0, 3),))
    assert "<image" not in maps.feature_map("k", "m", found, ["a", "b"], "maps.m")


def test_the_names_of_both_axes_of_a_confusion_matrix_stand_within_it(drawn: dict[str, str]) -> None:
    root = ElementTree.fromstring(drawn["confusion"])
    height = float(root.attrib["viewBox"].split()[3])
    (node,) = (node for node in root.iter() if node.tag.endswith("}text") and node.text == "predicted class")
    assert float(node.attrib["y"]) < height


def test_of_many_points_some_are_drawn() -> None:
    found = some(*((i % 97, i % 89, 0) for i in range(10 * maps.MOST_POINTS)))
    svg = maps.feature_map("k", "m", found, ["a"], "maps.m")
    uses = sum(node.tag.endswith("}use") for node in ElementTree.fromstring(svg).iter())
    assert maps.MOST_POINTS <= uses < maps.MOST_POINTS + 40
    assert len(svg) < 400_000


@pytest.mark.parametrize("many", [1, 2, 4, 9])
def test_models_have_colours_of_their_own_while_there_are_any(many: int) -> None:
    order = [f"m{i}" for i in range(many)]
    looks = [marks.style(order, model) for model in order]
    assert len(set(looks)) == many
    assert len({colour for colour, _ in looks}) == min(many, len(page_svg.SERIES))


ONE = dataclasses.replace(FACTS.rows[0], model="m", accuracy=0.5, training_s=3.0, extraction_s=0.0, losses=(1.0,))


def test_without_anything_to_draw_there_is_no_figure() -> None:
    row = dataclasses.replace(ONE, extraction_s=None, losses=())
    assert times.time_accuracy("k", [row], PUBLISHED, ["m"]) == ""
    assert times.stage_bars("k", {}) == ""
    assert curves.losses("k", "study", [row], ["m"]) == ""
    assert curves.curve("k", "t", "x", {"m": ()}, ["m"]) == ""
    empty = dataclasses.replace(ANALYSES["vgg16"].calibration.before, bins=())
    found = dataclasses.replace(ANALYSES["vgg16"].calibration, before=empty)
    assert reliability.reliability("k", "t", found) == ""
    assert seeds.seeds("k", [], ["m"]) == ""
    assert classes.recall("k", "study", {"m": {}}, ["a"], ["m"]) == ""
    assert maps.feature_map("k", "m", some(), ["a"], "maps.m") == ""


def test_one_point_is_enough() -> None:
    assert times.time_accuracy("k", [ONE], None, ["m"])
    assert curves.losses("k", "study", [ONE], ["m"])
    assert curves.curve("k", "t", "x", {"m": (CurvePoint(1, (0.5,)),)}, ["m"])
    alone = seeds.SeedDots("m", "study", (0.5,), over_seeds([0.5]), (0.4, 0.6))
    assert seeds.seeds("k", [alone], ["m"])


def test_a_head_of_several_trained_at_once_took_its_share_of_the_time() -> None:
    row = dataclasses.replace(ONE, extraction_s=100.0, training_s=60.0, together=30)
    assert row.trained_in_s == 102.0
    assert dataclasses.replace(row, together=1).trained_in_s == 160.0
    assert dataclasses.replace(row, extraction_s=None).trained_in_s is None
