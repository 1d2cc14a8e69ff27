"""Reports for the page: whole ones of several models, small ones, odd ones, and names that would break out of tags."""

import base64
import dataclasses
import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PIL import Image

from headstart.core.heads.predict import Photo
from headstart.core.heads.report.facts import (
    Disagreement,
    HeadResults,
    Mistake,
    ModelPair,
    Photograph,
    Preprocessing,
    Ratio,
    Report,
    Section,
    SigmoidCost,
    TitledImage,
)
from headstart.core.heads.report.published import STUDY
from headstart.core.heads.report.row import Inference, Row
from headstart.core.heads.statistics.calibration import Bin, Calibration, Temperature
from headstart.core.heads.statistics.compare import Comparison, Paired, Spread
from headstart.core.heads.statistics.maps import FeatureMap, Projection, Thumbnail
from headstart.core.heads.study.results import (
    Analyses,
    BatchNormResults,
    CurvePoint,
    Drift,
    EqualStepsPoint,
    SeedResults,
    SigmoidResults,
    TemperatureResults,
)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MODELS = ("vgg16", "vgg19", "resnet50", "resnet152")
RECIPES = ("study", "standard")
HOSTILE = (
    "<script>alert(1)</script>",
    "\" onload='x' & <b>",
    "two\nlines\r\nand\ttabs",
    "مرحبا שלום",
    "a\x00b\ud800c\x1b",
    "日本語 🐸 $x^2$",
    "]]> --> %s {0} \\",
    "javascript:alert(1)",
    "‮reversed",
    "</title></style></svg>",
)
"""Names as somebody may give them to a class, a photograph or a model."""

DOUBTS = ["the test images are not CIFAR-10's official test set", "weights compressed by others, not torchvision's"]


def picture(seed: int, side: int = 32, kind: str = "PNG") -> str:
    """A picture of two colours as a data URI."""
    chance = random.Random(seed)
    image = Image.new("RGB", (side, side), tuple(chance.randrange(60, 230) for _ in range(3)))
    image.paste(tuple(chance.randrange(256) for _ in range(3)), (side // 4, side // 4, 3 * side // 4, 3 * side // 4))
    data = io.BytesIO()
    image.save(data, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def run_name(model: str, recipe: str) -> str:
    return f"{model}-{recipe}-mlp-20261122-120000"


def _row(i: int, model: str, recipe: str) -> Row:
    accuracy = 0.8521 + 0.0061 * i + (0.0132 if recipe == "standard" else 0)
    start = 1.71 if recipe == "study" else 0.62
    return Row(
        run=run_name(model, recipe), model=model, settings=recipe, head="mlp", dataset="cifar10",
        weights="IMAGENET1K_V1 0a1b2c3d", device="cpu (AMD EPYC)", train_rows=24_000, test_rows=10_000,
        extraction_s=612.5 + 415.25 * i, training_s=3.68 + i, together=1,
        inference=Inference(10_000, 254.1 + i) if recipe == "study" else None,
        runs=(run_name(model, recipe),), seeds=(0,), accuracies=(accuracy,), accuracy=accuracy, deviation=None,
        interval=(accuracy - 0.0066, accuracy + 0.0064), interval_over="images", test_used="ab" * 32,
        published=recipe == "study", sigmoid=recipe == "study",
        losses=tuple(round(start * 0.93**epoch - 0.01 * i, 4) for epoch in range(5 if recipe == "study" else 20)),
        notes=tuple(DOUBTS[: 1 + i % 2]),
    )  # fmt: skip


def _accuracies(chance: random.Random, mean: float, many: int, spread: float = 0.0022) -> tuple[float, ...]:
    return tuple(round(chance.gauss(mean, spread), 4) for _ in range(many))


def _confusion(chance: random.Random, classes: int, rows: int = 1000) -> tuple[tuple[int, ...], ...]:
    matrix = [[chance.randrange(0, 160 // classes) for _ in range(classes)] for _ in range(classes)]
    for i, row in enumerate(matrix):
        row[(i + 2) % classes] += 30
        row[i] = rows - sum(row) + row[i]
    return tuple(map(tuple, matrix))


def _bins(shift: float) -> tuple[Bin, ...]:
    middles = [0.05 + 0.1 * i for i in range(10)]
    return tuple(
        Bin(m - 0.05, m + 0.05, 0, None, None)
        if m < 0.2
        else Bin(m - 0.05, m + 0.05, int(900 * m), m, max(0.0, min(1.0, m + shift * (1 - m))))
        for m in middles
    )


def _analyses(chance: random.Random, mean: float) -> Analyses:
    curve = [(epoch, mean - 0.09 / epoch**0.8) for epoch in range(1, 101)]
    sizes = (100, 300, 1000, 3000, 10_000, 50_000)
    return Analyses(
        seeds=SeedResults(_accuracies(chance, mean, 30), 21.4, 30),
        both=(mean - 0.0071, mean + 0.0069),
        epochs=tuple(CurvePoint(epoch, _accuracies(chance, value, 3)) for epoch, value in curve),
        sizes=tuple(
            CurvePoint(rows, _accuracies(chance, mean - 4 / rows**0.6, 3, 0.01 / rows**0.2)) for rows in sizes
        ),
        sizes_equal_steps=(),
        calibration=TemperatureResults(
            Temperature(0.141, 2400), "a head trained on 90 % of the rows",
            Calibration(10_000, _bins(0.6), 0.4231, 1.5512, 0.6), Calibration(10_000, _bins(0.03), 0.0123, 0.4321, 0.2),
        ),
        sigmoid=SigmoidResults((0.8521,), (0.8652,)),
    )  # fmt: skip


def _head(seed: int, row: Row, classes: tuple[str, ...]) -> HeadResults:
    chance, mean = random.Random(seed), row.accuracy
    matrix = _confusion(chance, len(classes))
    return HeadResults(
        model=row.model,
        settings=row.settings,
        test_interval=(mean - 0.0066, mean + 0.0064),
        confusion=matrix,
        recall={name: matrix[i][i] / sum(matrix[i]) for i, name in enumerate(classes)},
        predicted={name: sum(row[i] for row in matrix) for i, name in enumerate(classes)},
        true={name: sum(matrix[i]) for i, name in enumerate(classes)},
        ratio=dict.fromkeys(classes, Ratio(1.25, (1.1, 1.4))),
        analyses=_analyses(chance, mean),
        spread=Spread(30, mean, 0.0022, (mean - 0.0008, mean + 0.0008), mean - 0.004, mean + 0.004),
        mistakes=tuple(
            Mistake(17 * i, classes[i % len(classes)], classes[(i + 3) % len(classes)], 0.999 - i / 100, picture(i))
            for i in range(12)
        ),
    )


def _maps(seed: int, classes: int, points: int) -> FeatureMap:
    """A map of each method."""
    pca, tsne = _map(seed, classes, points), _map(seed + 100, classes, points)
    return FeatureMap(
        dataclasses.replace(pca, explained=(0.123, 0.081)),
        dataclasses.replace(tsne, method="t-SNE", perplexity=30.0, kl_divergence=1.2345),
    )


def _map(seed: int, classes: int, points: int) -> Projection:
    chance = random.Random(seed)
    centres = [(chance.uniform(-9, 9), chance.uniform(-7, 7)) for _ in range(classes)]
    drawn = tuple(
        (
            round(chance.gauss(centres[i % classes][0], 1.6), 3),
            round(chance.gauss(centres[i % classes][1], 1.6), 3),
            i % classes,
        )
        for i in range(points)
    )
    return Projection("PCA", drawn, tuple(Thumbnail(x, y, i, picture(i)) for i, (x, y, _) in enumerate(drawn[:30])))


def report(*sections: Section, **changes: Any) -> Report:
    """The sections as a report."""
    found = Report(
        sections, "AMD EPYC (Zen 4), 2 cores, bfloat16", "2026-11-22T12:00:00Z",
        {"headstart": "0.1.0", "torch": "2.15.0", "numpy": "2.3.1"},
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def whole(models: tuple[str, ...] = MODELS, classes: tuple[str, ...] = CLASSES, points: int = 600) -> Report:
    """A report of one section with every part."""
    return report(section(models, classes, points))


def section(models: tuple[str, ...] = MODELS, classes: tuple[str, ...] = CLASSES, points: int = 600) -> Section:
    """A section with every part, the published study's figures among them."""
    rows = [_row(i, model, recipe) for i, model in enumerate(models) for recipe in RECIPES]
    cost = (Spread(3, 0.8521, 0.002, (0.8501, 0.8541), 0.85, 0.854), Spread(3, 0.8652, 0.002, (0.8632, 0.8671), 0.86, 0.87))
    return Section(
        title="cifar10",
        dataset="cifar10",
        split="test",
        classes=classes,
        rows=tuple(rows),
        published=STUDY,
        photos=_photos(rows, classes),
        preprocessing=Preprocessing(
            "A truck of CIFAR-10 before and after preprocessing, de-normalised.",
            (TitledImage("before, 32 px", picture(1)), TitledImage("after, 224 px", picture(1, 224))),
        ),
        heads=tuple(_head(10 * (i // 2) + i % 2, row, classes) for i, row in enumerate(rows)),
        comparisons=tuple(pair for recipe in RECIPES for pair in _pairs(models, recipe)),
        sigmoid=tuple(SigmoidCost(model, *cost) for model in models),
        batch_norm=BatchNormResults(
            model=models[-1], weights="IMAGENET1K_V1", train_images=2000, test_images=1000, image_size=64, epochs=5,
            seeds=(0, 1, 2), accuracy_eval=(0.627, 0.631, 0.625), accuracy_train=(0.542, 0.551, 0.538),
            drift=(Drift(0.04, 0.2), Drift(0.06, 0.1)), precision="fp32", device="cpu (AMD EPYC)", elapsed_s=812.5,
            note="The first three stages only, one learning rate.",
        ),
        disagreements=tuple(
            Disagreement(
                40 + i, classes[i % len(classes)],
                {model: classes[(i + j) % len(classes)] for j, model in enumerate(models)}, picture(50 + i),
            )
            for i in range(4)
        ),
        maps={model: _maps(i, len(classes), points) for i, model in enumerate(models)},
        stages={
            model: {"read": 0.000013, "transfer": 0.00002, "preprocess": 0.00047, "backbone": 0.0225 + i / 100,
                    "head": 0.000025}
            for i, model in enumerate(models)
        },
    )  # fmt: skip


def _photos(rows: Sequence[Row], classes: Sequence[str]) -> tuple[Photograph, ...]:
    found = []
    for i, name in enumerate(("frog 1", "ship 1", "plane 1")):
        labels = {
            row.run: tuple((classes[(i + k) % len(classes)], p) for k, p in enumerate((0.231 + j / 50, 0.1, 0.05)))
            for j, row in enumerate(rows)
        }
        found.append(Photograph(Photo(f"{name}.jpg", labels), picture(i, 96, "JPEG")))
    return (*found, Photograph(Photo("cut-off.jpg", {}, "truncated after 12 bytes")))


def _pairs(models: Sequence[str], recipe: str) -> list[ModelPair]:
    pairs = [(a, b) for i, a in enumerate(models) for b in models[i + 1 :]]
    found = []
    for i, (a, b) in enumerate(pairs):
        ends = ((20 * i - 140) / 10_000, (20 * i - 40) / 10_000)
        p = min(1.0, 0.00072 * 4**i)
        paired = Paired(10_000, 8000, 312 + i, 402 - 10 * i, (20 * i - 90) / 10_000, ends, p, "exact binomial")
        found.append(ModelPair(recipe, Comparison(a, b, paired, min(1.0, 0.0043 * 4**i))))
    return found


# ------------------------------------------------------------------------------------------------------------- changes


def with_heads(section: Section, change: Callable[[HeadResults], HeadResults], *only: str) -> Section:
    """The section with its heads changed; `only` those of a model, or of a model with these settings."""
    heads = [change(it) if (it.model, it.settings)[: len(only)] == only else it for it in section.heads]
    return dataclasses.replace(section, heads=tuple(heads))


def with_analyses(section: Section, *only: str, **changes: Any) -> Section:
    """The section with its heads' analyses changed."""

    def change(head: HeadResults) -> HeadResults:
        assert head.analyses is not None
        return dataclasses.replace(head, analyses=dataclasses.replace(head.analyses, **changes))

    return with_heads(section, change, *only)


def with_rows(section: Section, *places: int, **changes: Any) -> Section:
    """The section with its rows changed; those at these places, or all."""
    chosen = {place % len(section.rows) for place in places} or set(range(len(section.rows)))
    rows = [dataclasses.replace(row, **changes) if i in chosen else row for i, row in enumerate(section.rows)]
    return dataclasses.replace(section, rows=tuple(rows))


def with_p(pair: ModelPair, adjusted: float) -> ModelPair:
    """The pair with this p-value after Holm's correction."""
    return dataclasses.replace(pair, comparison=dataclasses.replace(pair.comparison, adjusted=adjusted))


def own(
    models: tuple[str, ...] = MODELS[:2], classes: tuple[str, ...] = ("cat", "dog", "frog"), points: int = 40
) -> Section:
    """Somebody's own pictures: heads of three seeds, no published figures, nothing that only the study asks."""
    found = section(models, classes, points)
    rows = [
        dataclasses.replace(
            row, dataset="folder-pets", published=False, seeds=(0, 1, 2), deviation=0.004,
            accuracies=(row.accuracy - 0.004, row.accuracy, row.accuracy + 0.004),
            runs=tuple(f"{row.run}-{seed}" for seed in range(3)), interval_over="seeds and images", train_rows=240,
            test_rows=60, notes=(),
        )
        for row in found.rows
    ]  # fmt: skip
    names: dict[str, Any] = {"title": "folder-pets", "dataset": "folder-pets", "published": None}
    return dataclasses.replace(found, **names, rows=tuple(rows), batch_norm=None, sigmoid=(), preprocessing=None)


def small() -> Report:
    """The report of one run and nothing else."""
    row = dataclasses.replace(_row(0, "resnet50", "study"), extraction_s=None, inference=None, losses=(), notes=())
    return Report((bare((dataclasses.replace(row, published=False),)),))


def bare(rows: tuple[Row, ...] = ()) -> Section:
    """A section of rows alone."""
    return Section("d", "d", "test", (), rows)


def many_classes(classes: int = 150) -> Section:
    """So many classes; those with the highest numbers are found least often, the first has no test image."""
    names = tuple(f"species {i:03}" for i in range(classes))
    return with_heads(
        own(MODELS[:1], names, 2 * classes),
        lambda head: dataclasses.replace(
            head,
            recall={name: None if i == 0 else 1 - i / classes for i, name in enumerate(names)},
            confusion=tuple(tuple(int(i == j) for j in range(classes)) for i in range(classes)),
            ratio=dict.fromkeys(names, Ratio(None, None)),
        ),
    )


def unfitted(found: TemperatureResults, reason: str) -> TemperatureResults:
    """The same without a temperature, for this reason."""
    temperature = dataclasses.replace(found.temperature, value=None, reason=f"not fitted: {reason}")
    return dataclasses.replace(found, temperature=temperature, after=None)


def hostile() -> Report:
    """A whole report whose names are all hostile, in two sections."""
    found = section(HOSTILE[:2], HOSTILE)
    first, *others, last = found.photos
    photos = (
        dataclasses.replace(first, photo=dataclasses.replace(first.photo, name=HOSTILE[1])), *others,
        dataclasses.replace(last, photo=dataclasses.replace(last.photo, error=HOSTILE[0])),
    )  # fmt: skip
    analyses = found.heads[0].analyses
    assert found.batch_norm is not None
    assert analyses is not None
    calibration = dataclasses.replace(unfitted(analyses.calibration, HOSTILE[0]), fitted_with=HOSTILE[1])
    found = with_analyses(found, calibration=calibration)
    found = with_rows(found, notes=HOSTILE, dataset=HOSTILE[0], device=HOSTILE[1], weights=HOSTILE[0], head=HOSTILE[1])
    found = with_rows(found, run=HOSTILE[0], interval_over=HOSTILE[1])
    found = dataclasses.replace(
        found,
        title=HOSTILE[0], dataset=HOSTILE[1], split=HOSTILE[2], not_compared=HOSTILE, photos=photos,
        published=dataclasses.replace(STUDY, table_2={HOSTILE[0]: {HOSTILE[1]: HOSTILE[3]}}, hardware=HOSTILE[0]),
        preprocessing=Preprocessing(HOSTILE[1], (TitledImage(HOSTILE[1], picture(1)),)),
        batch_norm=dataclasses.replace(found.batch_norm, note=HOSTILE[0]),
        comparisons=tuple(dataclasses.replace(pair, note=HOSTILE[0]) for pair in found.comparisons),
    )  # fmt: skip
    theirs = dataclasses.replace(found, published=None)
    return report(found, theirs, hardware=HOSTILE[1], created=HOSTILE[0], versions={HOSTILE[0]: HOSTILE[1]})


def odd() -> dict[str, Report]:
    """Reports of what is rare, by name."""
    apart = dataclasses.replace(
        own(), comparisons=(),
        not_compared=("vgg19, study: tested on other images than the others, not compared with them",),
    )  # fmt: skip
    right = with_heads(own(), lambda head: head)
    analyses = right.heads[0].analyses
    assert analyses is not None
    reasonless = with_analyses(
        right,
        calibration=unfitted(analyses.calibration, "all 36 validation rows are right"),
        sizes_equal_steps=tuple(EqualStepsPoint(point.at, point.accuracies, 5, 100) for point in analyses.sizes),
    )
    sections = {
        "two classes": own(classes=("cat", "dog")),
        "one image": with_rows(own(MODELS[:1]), test_rows=1, interval=(0.2, 1.0), accuracy=1.0),
        "rows only": bare(own().rows),
        "many classes": many_classes(),
        "apart": with_rows(apart, -1, test_rows=17, test_used="cd" * 32, accuracy=0.99),
        "unfitted": reasonless,
    }
    return {name: report(found) for name, found in sections.items()}


def with_gaps() -> Iterator[tuple[str, Report]]:
    """Whole reports, each time without one of the parts that a report may lack; of the study's data and somebody's own."""
    empty = Section("t", "d", "", (), ())
    for found in (section(MODELS[:2], points=40), own()):
        for field in dataclasses.fields(Section):
            yield field.name, report(dataclasses.replace(found, **{field.name: getattr(empty, field.name)}))
        for field in ("mistakes", "analyses"):
            none: Any = () if field == "mistakes" else None
            changes: dict[str, Any] = {field: none}
            yield f"heads.{field}", report(with_heads(found, lambda it, c=changes: dataclasses.replace(it, **c)))  # type: ignore[misc]
        for name in ("extraction_s", "inference", "deviation"):
            yield f"rows.{name}", report(with_rows(found, **{name: None}))
        for name in ("losses", "notes"):
            yield f"rows.{name}", report(with_rows(found, **{name: ()}))
