"""Model cards: from the run record alone, with a front matter that is YAML, and names that stay names."""

import dataclasses
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import ODD_NAMES, recorded, untrained_head, untrained_key
from heads_samples import make_config, make_curve, random_head
from heads_samples import one_thread as one_thread
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from headstart.core.heads.protocol import HELD_OUT, Protocol
from headstart.core.heads.selection.record import Selection, Tried
from headstart.core.heads.statistics.measures import NAMES
from headstart.export.card import model_card
from headstart.export.card.front_matter import base_model, licence
from headstart.export.card.resampling import resampled
from headstart.export.card.text import code, plain, yaml
from headstart.inference.trained import TrainedHead

parser = pytest.importorskip("yaml", reason="PyYAML, which comes with ray and huggingface-hub, reads the front matter")
FOLDS = Protocol("cross-validation", 5, 3, (0.7, 0.75, 0.8))


def head_of(*classes: str, **changes: Any) -> TrainedHead:
    return untrained_head(untrained_key(classes=classes or ("cat", "dog", "frog"), **changes))


def parts(card: str) -> tuple[dict[str, Any], str]:
    """The front matter, read by a YAML parser, and what follows."""
    start, matter, body = card.split("---\n", 2) if card.startswith("---\n") else ("?", "", card)
    assert start == ""
    found: dict[str, Any] = parser.safe_load(matter)
    return found, body


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_front_matter_is_what_the_hub_reads() -> None:
    head = recorded(head_of())
    matter, _ = parts(model_card(head))
    assert (matter["license"], matter["library_name"], matter["pipeline_tag"]) == (
        "unknown",
        "headstart",
        "image-classification",
    )
    (model,) = matter["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["task"]["type"]) == (head.run and head.run.name, "image-classification")
    assert result["dataset"] == {"name": "folder-pets", "type": "folder-pets", "split": "test"}
    assert {one["type"] for one in result["metrics"]} == set(matter["metrics"])


def test_the_values_are_those_of_the_record() -> None:
    head = recorded(head_of())
    assert head.run is not None
    found = {one["name"]: one["value"] for one in parts(model_card(head))[0]["model-index"][0]["results"][0]["metrics"]}
    measures = head.run.evaluation.measures
    assert found["macro F1"] == pytest.approx(measures["macro_f1"], abs=1e-6)
    assert found["log loss"] == pytest.approx(measures["log_loss"], abs=1e-6)
    low, high = head.run.evaluation.overall.interval
    assert found[f"accuracy (95 % interval {low:.4f} to {high:.4f}, 13 images)"] == pytest.approx(
        head.run.evaluation.overall.accuracy, abs=1e-6
    )
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_stay_on_their_lines(name: str) -> None:
    """A class, a data set and a run of that name change no other part of the card."""
    usual, odd = (recorded(head_of("cat", one, "frog", dataset=one), name=one) for one in ("plainname", name))
    cards = model_card(usual, ["plainname.safetensors"]), model_card(odd, [f"{name}.safetensors".replace("/", "_")])
    cards[1].encode()  # what no file can hold is spelled out
    assert len(cards[0].splitlines()) == len(cards[1].splitlines())
    assert [line[:4] for line in cards[0].splitlines() if line.startswith("#")] == [
        line[:4] for line in cards[1].splitlines() if line.startswith("#")
    ]
    matter, _ = parts(cards[1])
    assert matter["model-index"][0]["name"] == spelled(name)
    assert matter["license"] == "unknown"


def spelled(name: str) -> str:
    """Half of a surrogate pair can't be in a file."""
    return "".join(f"\\u{ord(c):04x}" if 0xD800 <= ord(c) <= 0xDFFF else c for c in name)


@given(st.text(st.characters(), max_size=30))
@example("\ud83d\ude00")
@example("1e5")
@example("~")
@example("- x: y")
def test_yaml_gives_every_text_back(text: str) -> None:
    found = yaml({"name": text, "list": [text, {"inner": text}], "number": 1e-05})
    assert len(found.splitlines()) == 5
    assert parser.safe_load(found) == {
        "name": spelled(text),
        "list": [spelled(text), {"inner": spelled(text)}],
        "number": 1e-05,
    }


@given(st.text(st.characters(), max_size=30))
def test_text_and_code_stay_in_one_line(text: str) -> None:
    for found in (plain(text), code(text)):
        assert found
        assert found.isprintable()


@given(st.text("`a |\\", max_size=12))
def test_no_text_ends_its_span_of_code(text: str) -> None:
    found = code(text)
    fence = found[: len(found) - len(found.lstrip("`"))]
    inside = found[len(fence) : -len(fence)]
    assert found.endswith(fence)
    assert fence not in inside.replace("`" * (len(fence) + 1), "")
    assert inside.strip() == (text or " ").strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>&amp;", r"\<b\>\&amp;"),
        ("see https://example.org", r"see https\://example.org"),
        ("note: a b", "note: a b"),
        (":smile: @me $x$", r"\:smile: \@me \$x\$"),
        ("www.example.org", r"www\.example.org"),
        ("", "(no name)"),
    ],
)
def test_markup_is_shown_as_it_is(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_hundred_and_fifty_classes_have_a_card_that_can_be_read() -> None:
    head = recorded(head_of(*(f"class {i}" for i in range(150))))
    card = model_card(head)
    assert "These 20 of 150 classes are found least often" in section(card, "Classes")
    assert section(card, "Classes").count("\n| `class") == 20
    assert "of 150 classes, 100 at most are kept here" in section(card, "Mistakes")
    assert "and 100 more" in card
    assert len(card.encode()) < 15_000


def test_the_largest_confusions_come_first_and_are_bounded() -> None:
    lines = section(model_card(recorded(head_of(*(f"c{i}" for i in range(60))), 12)), "Mistakes").splitlines()
    counts = [int(line.split("|")[3]) for line in lines if line.startswith("| `")]
    assert len(counts) == 15
    assert counts == sorted(counts, reverse=True)
    assert "other pairs of classes" in lines[-2] + lines[-1]


def test_a_class_with_one_picture_is_said() -> None:
    card = model_card(recorded(head_of("cat", "dog", "only one")))
    assert "all classes were tested on fewer than 30 images, one of them on 1" in section(card, "Known limits")
    assert "| `only one` | 1 " in section(card, "Classes")


def test_how_it_was_tested_is_said() -> None:
    by_folds = model_card(recorded(head_of(), evaluated_by=FOLDS))
    assert "cross-validation of 5 folds, 3 times over; the standard deviation of the accuracy is 5.0 points" in by_folds
    assert parts(by_folds)[0]["model-index"][0]["results"][0]["dataset"]["split"] == "cross-validation"
    assert "the data set's own test split, 13 images" in model_card(recorded(head_of()))
    assert "a part of the data set that was held out, 13 images" in model_card(recorded(head_of(), evaluated_by=HELD_OUT))


def test_what_was_tried_and_a_curve_are_said() -> None:
    found = [Tried(make_config("logreg", penalty=10.0**i), 0.5 + i / 100, 0.01, 0.75, 1.0) for i in range(14)]
    card = model_card(recorded(head_of(), selection=Selection(5, 60, tuple(found), 12, 1.5), curve=make_curve()))
    text = section(card, "Protocol")
    assert "14 tried on 60 training rows, each predicted by a head that did not see it (5 folds)" in text
    assert "The run record has 4 more." in text
    assert "chosen is the least log loss." in text  # of one kind
    assert text.count("| chosen ") == 1
    assert "More pictures would probably help" in text


def test_a_head_without_a_record_says_what_is_not_known() -> None:
    matter, body = parts(model_card(head_of()))
    assert "model-index" not in matter
    assert "metrics" not in matter
    for title in ("Protocol", "Measures", "Classes", "Mistakes"):
        assert section(body, title).strip() == "Not known: no run record (`run.json`) lies beside the head."
    assert "How well it does is not known." in section(body, "Known limits")
    assert "resized to 32 x 32 px (bilinear)" in body


def test_notes_of_the_record_and_caveats_are_limits() -> None:
    note = "the test images are not CIFAR-10's official test set (which has exactly 1,000 images of each class)"
    text = section(
        model_card(recorded(head_of(), notes=(note, "trained on the first 9 of 90 training images"))), "Known limits"
    )
    assert f"- Note: {note}" in text
    assert "untrained backbone: its weights are random numbers" in text
    assert "trained on the first 9 of 90 training images" in text


def test_a_head_without_calibration_says_so() -> None:
    head = head_of()
    own = random_head("prototype", 3, False, 1.0, 0, 512)
    own.never([1])
    text = model_card(dataclasses.replace(head, checkpoint=dataclasses.replace(head.checkpoint, head=own, confidence=None)))
    assert "Not calibrated: a prototype head's probabilities are similarities to class means" in section(
        text, "Calibration"
    )
    assert "Never given, since no training image was of them: `dog`." in section(text, "Known limits")


def test_coverages_that_have_too_few_rows_are_said() -> None:
    text = section(model_card(head_of()), "Calibration")
    assert "the temperature 1.75" in text
    assert "| 95%      | 19          | yes " in text
    assert "| 99%      | 99          | no class is left out |" in text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("", {"license": "unknown"}),
        ("unknown: the weights are from a file, ask whoever made it", {"license": "unknown"}),
        ("none: the weights are random numbers", {"license": "unknown"}),
        ("BSD-3-Clause (torchvision, which says that weights may have terms of their own)", {"license": "bsd-3-clause"}),
        ("apache-2.0", {"license": "apache-2.0"}),
        ("cc-by-nc-4.0", {"license": "cc-by-nc-4.0"}),
        ("dinov3-license", {"license": "other", "license_name": "dinov3-license"}),
    ],
)
def test_licences_have_the_names_of_the_hub(found: str, expected: dict[str, str]) -> None:
    assert licence(found) == expected


@pytest.mark.parametrize(
    ("model", "expected"), [("resnet18", "none: the weights are random numbers"), ("a-network-to-come", "not recorded")]
)
def test_a_licence_that_was_not_recorded_is_that_of_the_weights_where_it_is_known(model: str, expected: str) -> None:
    checkpoint = untrained_head(untrained_key()).checkpoint
    key = dataclasses.replace(checkpoint.key, backbone=model)
    head = TrainedHead(dataclasses.replace(checkpoint, key=key, licence=""), None, "a head")
    assert f"Weights of the backbone: {expected}" in section(model_card(head), "Licences")


def test_terms_of_a_licence_are_said() -> None:
    head = head_of()
    card = model_card(dataclasses.replace(head, checkpoint=dataclasses.replace(head.checkpoint, licence="cc-by-nc-4.0")))
    assert "not for commercial use, nor is what is made with them" in section(card, "Licences")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://huggingface.co/timm/vit.lvd142m/resolve/abc/model.safetensors", "timm/vit.lvd142m"),
        ("https://download.pytorch.org/models/resnet18-f37072fd.pth", None),
        ("/home/me/weights.pth", None),
        ("https://huggingface.co/a/b: c/resolve/x", None),
    ],
)
def test_the_base_model_is_named_where_it_is_known(origin: str, expected: str | None) -> None:
    head = head_of()
    found = dataclasses.replace(head, checkpoint=dataclasses.replace(head.checkpoint, weights_from=origin))
    assert base_model(found.checkpoint) == expected
    assert parts(model_card(found))[0].get("base_model") == expected


def test_files_come_with_the_commands_that_run_them() -> None:
    files = {"/tmp/x/my model.onnx": "a" * 64, "m.safetensors": "b" * 64, "-m.pt2": "c" * 64}
    text = section(model_card(recorded(head_of()), files), "How to run it")
    assert "$ headstart export --check 'my model.onnx'\n" in text
    assert f"$ headstart export --check ./-m.pt2 --digest {'c' * 64}\n" in text
    assert "--check m.safetensors" not in text  # there are no test pictures in it
    assert 'session = onnxruntime.InferenceSession("my model.onnx")' in text
    assert f"| `m.safetensors` | `{'b' * 64}` |" in text
    assert 'with safe_open("m.safetensors", "pt") as file:' in text
    assert "No file of the model was written with this card." in model_card(head_of())


@pytest.mark.parametrize("name", [*ODD_NAMES, "-x.onnx", "a\\'b\n"])
def test_a_shell_finds_the_file_of_any_name(name: str, tmp_path: Path) -> None:
    """What the card's command names is the file: bash reads the word, and gives its bytes back."""
    file = f"{name}.onnx".replace("/", "_")
    text = section(model_card(head_of(), [file]), "How to run it")
    word = text[text.index("--check ") + len("--check ") : text.index("\n```", text.index("--check "))]
    found = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], stdout=subprocess.PIPE, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert found.stdout.removeprefix(b"./") == file.encode("utf-8", "surrogateescape")


def test_intervals_of_label_measures_hold_the_measures_themselves() -> None:
    rng = np.random.default_rng(5)
    labels, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    predicted[:120] = labels[:120]
    matrix = np.zeros((4, 4), dtype=int)
    np.add.at(matrix, (labels, predicted), 1)
    found = resampled(matrix.tolist())
    exact = {
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, average="macro"),
    }
    for name, value in exact.items():
        low, high = found[name]
        assert low < value < high
        assert 0.08 < high - low < 0.18  # about 4 standard errors of a share of 0.7 of 200
    assert set(exact) <= set(NAMES)


def test_no_interval_is_drawn_where_nothing_is_wrong() -> None:
    assert resampled([[5, 0], [0, 7]]) == resampled(None) == resampled([]) == {}


def test_pictures_are_described_as_they_are_prepared() -> None:
    card = model_card(head_of(crop="center", resize=36))
    assert "short side resized to 36 px (bilinear), the middle 32 x 32 px of that" in card


def test_a_file_that_does_not_resize_has_no_program_that_would() -> None:
    head = untrained_head(untrained_key())
    plainly, resized = (model_card(head, {"m.onnx": "ab"}, which) for which in ((), ("m.onnx",)))
    assert "```python" in plainly
    assert "```python" not in resized
    assert "takes pictures of the size that its metadata say" in resized
