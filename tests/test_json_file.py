"""The JSON report holds all, and the same as the others."""

import json

import page_samples
import pytest
from heads_samples import make_curve
from report_samples import labelled, make_report, make_row, parsed_csv, runs_of_two_models, two_rows

from headstart.core.cache.files import canonical_json, parse_json
from headstart.core.heads.predict import Photo
from headstart.core.heads.report.facts import with_ids
from headstart.core.heads.report.json_file import VERSION, to_json


def test_csv_and_json_say_the_same() -> None:
    report, runs = make_report(*two_rows()), runs_of_two_models()
    facts = to_json(report)["sections"][0]["rows"]
    lines = parsed_csv(report, *runs)
    assert len(lines) == len(facts) == 2
    for line, fact in zip(lines, facts, strict=True):
        for name in ("run", "model", "recipe", "head", "dataset", "weights", "device"):
            assert line[name] == fact[name]
        for name in ("train_rows", "test_rows", "together"):
            assert int(line[name]) == fact[name]
        for name in ("extraction_s", "training_s", "accuracy"):
            assert float(line[name]) == fact[name]
        assert (float(line["accuracy_low"]), float(line["accuracy_high"])) == tuple(fact["interval"])
        assert [float(loss) for loss in line["losses"].split()] == pytest.approx(list(fact["losses"]), rel=1e-5)
        assert line["notes"] == "; ".join(fact["notes"])
    assert (lines[0]["inference_images"], lines[0]["inference_s"]) == ("200", "12.345")
    assert facts[0]["inference"] == {"images": 200, "elapsed_s": 12.345}
    assert (lines[1]["inference_images"], lines[1]["inference_s"], facts[1]["inference"]) == ("", "", None)


def test_json_is_strict_and_holds_all() -> None:
    photos = (labelled("ä|\n.jpg", ("frog", 0.5), ("cat", 0.25)), Photo("bad.jpg", {}, "cut off"))
    report = make_report(*two_rows(), photos=photos)
    found = parse_json(canonical_json(to_json(report)))  # neither NaN nor a key twice
    (part,) = found["sections"]
    assert (found["title"], part["title"]) == (report.title, "pets")
    assert [line["run"] for line in part["rows"]] == [line.run for line in report.sections[0].rows]
    assert part["photos"][0] == {
        "name": "ä|\n.jpg",
        "labels": {"resnet50-study-mlp-20230901-120000": [["frog", 0.5], ["cat", 0.25]]},
        "error": None,
    }
    assert part["photos"][1] == {"name": "bad.jpg", "labels": {}, "error": "cut off"}
    assert found["version"] == VERSION


def test_json_holds_the_published_tables() -> None:
    report = make_report(make_row(published=True))
    published = json.loads(canonical_json(to_json(report)))["sections"][0]["published"]
    assert published["table_1"]["vgg16"] == {"training_s": 767, "inference_s": 64, "accuracy": 0.8187}
    assert published["table_2"]["frog 1"] == {"vgg16": "✓", "vgg19": "✓", "resnet50": "cat", "resnet152": "✓"}
    assert (published["train_rows"], published["test_rows"], published["hardware"]) == (24_000, 10_000, "one NVIDIA T4")


def test_json_holds_what_was_measured_of_each_head() -> None:
    found = page_samples.section(page_samples.MODELS[:2], points=40)
    (section,) = parse_json(canonical_json(to_json(page_samples.report(found))))["sections"]
    head, shown = found.heads[0], section["models"]["vgg16"]["study"]
    assert head.analyses is not None
    assert shown["confusion"] == [list(row) for row in head.confusion]
    assert shown["seeds"]["accuracies"] == list(head.analyses.seeds.accuracies)
    assert (shown["seeds"]["count"], shown["seeds"]["together"]) == (30, 30)
    assert shown["ratio"]["cat"] == {"ratio": 1.25, "low": 1.1, "high": 1.4}
    calibration = {name: shown["calibration"][name] for name in ("ece", "ece_after", "temperature", "not_fitted", "of")}
    assert calibration == {
        "ece": 0.4231, "ece_after": 0.0123, "temperature": 0.141, "not_fitted": None,
        "of": "a head trained on 90 % of the rows",
    }  # fmt: skip
    assert shown["epochs"][4] == {"epoch": 5, "accuracies": list(head.analyses.epochs[4].accuracies)}
    (pair, *_) = section["comparisons"]
    assert (pair["recipe"], pair["first"], pair["second"]) == ("study", "vgg16", "vgg19")
    assert (pair["only_first"], pair["p"], pair["p_holm"], pair["low"]) == (312, 0.00072, 0.0043, -0.014)
    assert set(section["maps"]["vgg16"]) == {"method", "rows", "points", "thumbnails", "explained", "tsne"}
    assert section["batch_norm"]["eval"] == [0.627, 0.631, 0.625]
    assert section["sigmoid"][0]["with"]["mean"] == 0.8521
    shown = to_json(page_samples.report(with_ids(found, {row: f"dog/{row}.png" for row in range(3_000)})))
    assert "data:image" not in json.dumps(shown)
    (section,) = shown["sections"]
    assert section["disagreements"][0]["id"] == f"dog/{section['disagreements'][0]['row']}.png"
    assert section["models"]["vgg16"]["study"]["mistakes"][1]["id"] == "dog/17.png"
    assert section["maps"]["vgg16"]["thumbnails"][1]["id"] == "dog/1.png"


def test_a_few_shot_curve_is_there_with_its_means_and_what_it_says() -> None:
    facts = to_json(make_report(make_row(curve=make_curve()), make_row()))["sections"][0]["rows"]
    found = parse_json(canonical_json(facts[0]))["curve"]
    assert [point["mean"] for point in found["points"]] == [0.625, 0.75]
    assert found["points"][0]["accuracies"] == [0.5, 0.625, 0.75]
    assert (found["gain"]["value"], found["verdict"]) == (0.125, "probably")
    assert (found["doubled"]["low"], found["doubled"]["high"]) == pytest.approx((0.05, 0.15))
    assert found["sentence"].startswith("More pictures would probably help: ")
    assert facts[1]["curve"] is None
