"""Documents for the report's page: whole ones of several models, small ones, odd ones, and names that would break out of
their tags."""

import base64
import copy
import io
import random
from collections.abc import Iterator
from typing import Any

from PIL import Image

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


def _row(i: int, model: str, recipe: str) -> dict[str, Any]:
    accuracy = 0.8521 + 0.0061 * i + (0.0132 if recipe == "standard" else 0)
    start = 1.71 if recipe == "study" else 0.62
    return {
        "run": run_name(model, recipe), "model": model, "recipe": recipe, "head": "mlp", "dataset": "cifar10",
        "weights": "IMAGENET1K_V1 0a1b2c3d", "device": "cpu (AMD EPYC)", "train_rows": 24_000, "test_rows": 10_000,
        "extraction_s": 612.5 + 415.25 * i, "training_s": 3.68 + i, "together": 1,
        "inference": {"images": 10_000, "elapsed_s": 254.1 + i} if recipe == "study" else None,
        "runs": [run_name(model, recipe)], "seeds": [0], "accuracies": [accuracy], "accuracy": accuracy, "deviation": None,
        "interval": [accuracy - 0.0066, accuracy + 0.0064], "interval_over": "images", "test_used": "ab" * 32,
        "published": recipe == "study",
        "losses": [round(start * 0.93**epoch - 0.01 * i, 4) for epoch in range(5 if recipe == "study" else 20)],
        "notes": DOUBTS[: 1 + i % 2],
    }  # fmt: skip


def _accuracies(chance: random.Random, mean: float, many: int, spread: float = 0.0022) -> list[float]:
    return [round(chance.gauss(mean, spread), 4) for _ in range(many)]


def _confusion(chance: random.Random, classes: int, rows: int = 1000) -> list[list[int]]:
    matrix = [[chance.randrange(0, 160 // classes) for _ in range(classes)] for _ in range(classes)]
    for i, row in enumerate(matrix):
        row[(i + 2) % classes] += 30
        row[i] = rows - sum(row) + row[i]
    return matrix


def _bins(shift: float) -> list[dict[str, Any]]:
    middles = [0.05 + 0.1 * i for i in range(10)]
    return [
        {
            "low": m - 0.05,
            "high": m + 0.05,
            "count": 0 if m < 0.2 else int(900 * m),
            "confidence": m,
            "accuracy": max(0, min(1, m + shift * (1 - m))),
        }
        for m in middles
    ]


def _answers(seed: int, mean: float, classes: tuple[str, ...]) -> dict[str, Any]:
    chance = random.Random(seed)
    matrix = _confusion(chance, len(classes))
    curve = [(epoch, mean - 0.09 / epoch**0.8) for epoch in range(1, 101)]
    return {
        "seeds": {
            "accuracies": _accuracies(chance, mean, 30), "mean": mean, "deviation": 0.0022, "low": mean - 0.0008,
            "high": mean + 0.0008, "elapsed_s": 21.4, "together": 30, "count": 30,
        },
        "test_interval": [mean - 0.0066, mean + 0.0064],
        "both_interval": [mean - 0.0071, mean + 0.0069],
        "recall": {name: matrix[i][i] / sum(matrix[i]) for i, name in enumerate(classes)},
        "predicted": {name: sum(row[i] for row in matrix) for i, name in enumerate(classes)},
        "true": {name: sum(matrix[i]) for i, name in enumerate(classes)},
        "confusion": matrix,
        "calibration": {
            "ece": 0.4231, "nll": 1.5512, "temperature": 0.141, "ece_after": 0.0123, "nll_after": 0.4321,
            "bins": _bins(0.6), "bins_after": _bins(0.03),
        },
        "epochs": [{"epoch": epoch, "accuracies": _accuracies(chance, value, 3)} for epoch, value in curve],
        "sizes": [
            {"rows": rows, "accuracies": _accuracies(chance, mean - 4 / rows**0.6, 3, 0.01 / rows**0.2)}
            for rows in (100, 300, 1000, 3000, 10_000, 50_000)
        ],
        "mistakes": [
            {"row": 17 * i, "label": classes[i % len(classes)], "predicted": classes[(i + 3) % len(classes)],
             "probability": 0.999 - i / 100, "image": picture(i)}
            for i in range(12)
        ],
    }  # fmt: skip


def _maps(seed: int, classes: int, points: int) -> dict[str, Any]:
    """A map of each method."""
    other = {"method": "t-SNE", "rows": points, "perplexity": 30.0, "kl_divergence": 1.2345}
    return {**_map(seed, classes, points), "tsne": {**_map(seed + 100, classes, points), **other, "explained": None}}


def _map(seed: int, classes: int, points: int) -> dict[str, Any]:
    chance = random.Random(seed)
    centres = [(chance.uniform(-9, 9), chance.uniform(-7, 7)) for _ in range(classes)]
    drawn = [
        [
            round(chance.gauss(centres[i % classes][0], 1.6), 3),
            round(chance.gauss(centres[i % classes][1], 1.6), 3),
            i % classes,
        ]
        for i in range(points)
    ]
    return {
        "method": "PCA",
        "rows": points,
        "explained": [0.123, 0.081],
        "points": drawn,
        "thumbnails": [{"x": x, "y": y, "image": picture(i)} for i, (x, y, _) in enumerate(drawn[:30])],
    }


def document(*sections: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The sections as a report's document."""
    found = {
        "title": f"Frozen backbones compared ({'; '.join(DOUBTS)})",
        "sections": list(sections),
        "hardware": "AMD EPYC (Zen 4), 2 cores, bfloat16",
        "created": "2026-11-22T12:00:00Z",
        "versions": {"headstart": "0.1.0", "torch": "2.15.0", "numpy": "2.3.1"},
        "notes": ["Other work ran on the machine during the first minutes."],
    }
    return {**found, **changes}


def whole(models: tuple[str, ...] = MODELS, classes: tuple[str, ...] = CLASSES, points: int = 600) -> dict[str, Any]:
    """A document of one section with every part."""
    return document(section(models, classes, points))


def section(models: tuple[str, ...] = MODELS, classes: tuple[str, ...] = CLASSES, points: int = 600) -> dict[str, Any]:
    """Facts with every part, the published study's figures among them."""
    rows = [_row(i, model, recipe) for i, model in enumerate(models) for recipe in RECIPES]
    means = {(row["model"], row["recipe"]): row["accuracy"] for row in rows}
    pairs = [(a, b) for i, a in enumerate(models) for b in models[i + 1 :]]
    return {
        "title": "cifar10",
        "dataset": "cifar10",
        "split": "test",
        "rows": rows,
        "published": {
            "hardware": "one NVIDIA T4", "train_rows": 24_000, "test_rows": 10_000,
            "table_1": {
                "vgg16": {"training_s": 767, "inference_s": 64, "accuracy": 0.8187},
                "vgg19": {"training_s": 1201, "inference_s": 99, "accuracy": 0.8164},
                "resnet50": {"training_s": 743, "inference_s": 59, "accuracy": 0.8066},
                "resnet152": {"training_s": 1324, "inference_s": 105, "accuracy": 0.8193},
            },
            "table_2": {
                "frog 1": {"vgg16": "✓", "vgg19": "✓", "resnet50": "cat", "resnet152": "✓"},
                "ship 1": {"vgg16": "✓", "vgg19": "✓", "resnet50": "plane", "resnet152": "plane"},
            },
        },
        "photos": [
            *({"name": f"{name}.jpg", "error": None, "image": picture(i, 96, "JPEG"), "labels": {
                row["run"]: [[classes[(i + k) % len(classes)], p] for k, p in enumerate((0.231 + j / 50, 0.1, 0.05))]
                for j, row in enumerate(rows)
            }} for i, name in enumerate(("frog 1", "ship 1", "plane 1"))),
            {"name": "cut-off.jpg", "labels": {}, "error": "truncated after 12 bytes", "image": None},
        ],
        "figure_1": {
            "caption": "A truck of CIFAR-10 before and after preprocessing, de-normalised.",
            "images": [{"title": "before, 32 px", "image": picture(1)},
                       {"title": "after, 224 px", "image": picture(1, 224)}],
        },
        "classes": list(classes),
        "models": {
            model: {recipe: _answers(10 * i + j, means[model, recipe], classes) for j, recipe in enumerate(RECIPES)}
            for i, model in enumerate(models)
        },
        "comparisons": [
            {"recipe": recipe, "first": a, "second": b, "only_first": 312 + i, "only_second": 402 - 10 * i,
             "difference": (20 * i - 90) / 10_000, "low": (20 * i - 140) / 10_000, "high": (20 * i - 40) / 10_000,
             "p": min(1.0, 0.00072 * 4**i), "p_holm": min(1.0, 0.0043 * 4**i), "method": "McNemar, exact"}
            for recipe in RECIPES for i, (a, b) in enumerate(pairs)
        ],
        "sigmoid": [
            {"model": model, "with": {"mean": 0.8521, "low": 0.8501, "high": 0.8541},
             "without": {"mean": 0.8652, "low": 0.8632, "high": 0.8671}, "difference": 0.0131}
            for model in models
        ],
        "batch_norm": {
            "model": models[-1], "train_images": 2000, "test_images": 1000, "seeds": 3, "eval": [0.627, 0.631, 0.625],
            "train": [0.542, 0.551, 0.538], "note": "The first three stages only, one learning rate.",
        },
        "disagreements": [
            {"row": 40 + i, "label": classes[i % len(classes)], "image": picture(50 + i),
             "predicted": {model: classes[(i + j) % len(classes)] for j, model in enumerate(models)}}
            for i in range(4)
        ],
        "maps": {model: _maps(i, len(classes), points) for i, model in enumerate(models)},
        "stages": {
            model: {"read": 0.000013, "transfer": 0.00002, "preprocess": 0.00047, "backbone": 0.0225 + i / 100,
                    "head": 0.000025}
            for i, model in enumerate(models)
        },
        "not_compared": [],
        "label_shifts": [],
    }  # fmt: skip


def own(
    models: tuple[str, ...] = MODELS[:2], classes: tuple[str, ...] = ("cat", "dog", "frog"), points: int = 40
) -> dict[str, Any]:
    """Facts of somebody's own pictures: heads of three seeds, no published figures, no answers that were not asked for."""
    facts = section(models, classes, points)
    for row in facts["rows"]:
        mean = row["accuracy"]
        row.update(
            dataset="folder-pets", published=False, seeds=[0, 1, 2], accuracies=[mean - 0.004, mean, mean + 0.004],
            runs=[f"{row['run']}-{seed}" for seed in range(3)], deviation=0.004, interval_over="seeds and images",
            train_rows=240, test_rows=60, notes=[],
        )  # fmt: skip
    facts.update(title="folder-pets", dataset="folder-pets", published=None, batch_norm=None, sigmoid=[], figure_1=None)
    return facts


def small() -> dict[str, Any]:
    """The document of a report of one run and nothing else."""
    row = {**_row(0, "resnet50", "study"), "extraction_s": None, "inference": None, "losses": [], "notes": []}
    return {"title": "Frozen backbones compared", "sections": [{"rows": [row]}]}


def many_classes(classes: int = 150) -> dict[str, Any]:
    """Facts of so many classes; those with the highest numbers are found least often, the first has no test image."""
    names = tuple(f"species {i:03}" for i in range(classes))
    facts = own(MODELS[:1], names, 2 * classes)
    for recipes in facts["models"].values():
        for it in recipes.values():
            it["recall"] = {name: None if i == 0 else 1 - i / classes for i, name in enumerate(names)}
            it["confusion"] = [[int(i == j) for j in range(classes)] for i in range(classes)]
    return facts


def hostile() -> dict[str, Any]:
    """A whole document whose names are all hostile, in two sections."""
    facts = section(HOSTILE[:2], HOSTILE)
    facts.update(title=HOSTILE[0], dataset=HOSTILE[1], split=HOSTILE[2], not_compared=list(HOSTILE))
    facts["published"]["table_2"] = {HOSTILE[0]: {HOSTILE[1]: HOSTILE[3]}}
    facts["published"]["hardware"] = HOSTILE[0]
    facts["photos"][0]["name"], facts["photos"][-1]["error"] = HOSTILE[1], HOSTILE[0]
    facts["figure_1"]["caption"] = facts["figure_1"]["images"][0]["title"] = HOSTILE[1]
    facts["batch_norm"]["note"] = HOSTILE[0]
    for row in facts["rows"]:
        row.update(notes=list(HOSTILE[:3]), dataset=HOSTILE[0], device=HOSTILE[1], weights=HOSTILE[0], head=HOSTILE[1])
        row.update(run=HOSTILE[0] + row["run"], interval_over=HOSTILE[1])
    for it in facts["comparisons"]:
        it["method"] = it["note"] = HOSTILE[0]
    for recipes in facts["models"].values():
        for it in recipes.values():
            it["calibration"].update(not_fitted=HOSTILE[0], of=HOSTILE[1])
    theirs = copy.deepcopy(facts) | {"published": None}
    return document(
        facts, theirs, title=f"Frozen ({HOSTILE[0]}; {HOSTILE[9]})", hardware=HOSTILE[1], created=HOSTILE[0],
        notes=list(HOSTILE), versions={HOSTILE[0]: HOSTILE[1]},
    )  # fmt: skip


def odd() -> dict[str, dict[str, Any]]:
    """Documents of what is rare, by name."""
    two_classes = own(classes=("cat", "dog"))
    one_image = own(MODELS[:1])
    for row in one_image["rows"]:
        row.update(test_rows=1, interval=[0.2, 1.0], accuracy=1.0)
    rows_only = {"title": "t", "dataset": "d", "split": "test", "rows": own()["rows"], "published": None}
    no_intervals = copy.deepcopy(rows_only)
    for row in no_intervals["rows"]:
        row.update(interval=None, interval_over=None, accuracies=None, seeds=None)
    apart = own()
    apart["comparisons"] = []
    apart["not_compared"] = ["vgg19, study: tested on other images than the others, not compared with them"]
    apart["rows"][-1].update(test_rows=17, test_used="cd" * 32, accuracy=0.99)
    unfitted = own()
    for recipes in unfitted["models"].values():
        for it in recipes.values():
            it["calibration"].update(temperature=None, ece_after=None, nll_after=None, bins_after=None)
            it["calibration"].update(not_fitted="all 36 validation rows are right", of="a head trained on 90 % of the rows")
            it["sizes_equal_steps"] = it["sizes"]
    sections = {
        "two classes": two_classes, "one image": one_image, "rows only": rows_only, "no intervals": no_intervals,
        "many classes": many_classes(), "apart": apart, "unfitted": unfitted,
    }  # fmt: skip
    return {name: document(facts) for name, facts in sections.items()}


def with_nulls() -> Iterator[tuple[str, dict[str, Any]]]:
    """Whole documents, each time with one part null: every part at the top and of a section, every answer of a model, every
    field of a row; of the published study's data and of somebody's own."""
    yield from ((key, {**whole(MODELS[:2], points=40), key: None}) for key in document())
    for facts in (section(MODELS[:2], points=40), own()):
        yield from ((key, document({**facts, key: None})) for key in facts)
        for key in facts["models"]["vgg16"]["study"]:
            changed = copy.deepcopy(facts)
            changed["models"]["vgg16"]["study"][key] = None
            yield f"models.{key}", document(changed)
        for key in facts["rows"][0]:
            yield f"rows.{key}", document({**facts, "rows": [{**row, key: None} for row in facts["rows"]]})
