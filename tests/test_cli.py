"""The command line as a user meets it: each command, its help, its errors, its exit codes."""

import csv
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from cli_samples import Place, parse
from click.testing import CliRunner
from extract_samples import offline
from PIL import Image

from headstart.console.signals import ECHO_S
from headstart.core import cli
from headstart.core.heads import checkpoint
from headstart.core.heads.confidence import Confidence

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--dataset", "digits", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with features of 300 and 200 digits and a head trained with each recipe."""
    found = Place(tmp_path_factory.mktemp("place"))
    found.run("extract", "-m", "resnet18", *SMALL, "--limit", "300")
    for recipe in ("study", "standard"):
        found.run("train-head", "--head", "mlp", "-m", "resnet18", "--recipe", recipe, "--epochs", "3")
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures that can be read and one that can't."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(random.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing behind it")
    return folder


def commands() -> list[tuple[str, click.Command]]:
    """Every command with its words, the groups' own among them."""
    found: list[tuple[str, click.Command]] = []
    for name, command in cli.cli.commands.items():
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", sub) for inner, sub in command.commands.items()]
    return found


@pytest.mark.parametrize(("words", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_help_ends_with_an_example_that_parses(words: str, command: click.Command, tmp_path: Path) -> None:
    text = CliRunner().invoke(cli.cli, [*words.split(), "--help"]).stdout.strip()
    example = re.sub(r"\s+", " ", text[text.index("Example:") :]).removeprefix("Example: ")
    assert text.endswith(example.split()[-1])
    parse(example.replace("holiday/*.jpg", "x.jpg").replace("--photos holiday/", f"--photos {tmp_path}"))


def test_help_needs_neither_torch_nor_numpy() -> None:
    """What makes help instant; a clock in a test would fail on a busy machine."""
    code = "import sys, headstart.core.cli; print(sorted({'torch', 'numpy', 'h5py', 'sklearn', 'rich'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_second_extract_finds_everything_and_imports_no_torch(place: Place) -> None:
    words = ["extract", "-m", "resnet18", *SMALL, "--limit", "300", "--features-dir", str(place.root / "features")]
    code = (
        f"import sys; from headstart.core import cli; cli.cli({words!r}, standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    lines = found.stdout.splitlines()
    assert [("already there" in line) for line in lines[:2]] == [True, True]
    assert lines[2] == "False" or _has_cuda_driver()


def _has_cuda_driver() -> bool:
    from headstart.core.extract.network import devices

    return devices._has_cuda()


def test_extract_says_what_it_made(place: Place) -> None:
    result = place.run("extract", "-m", "resnet18", *SMALL, "--limit", "300", "--json")
    facts = json.loads(result.stdout.splitlines()[-1])
    assert [(split["split"], split["rows"], split["feature_dim"], split["computed"]) for split in facts] == [
        ("train", 300, 512, 0),
        ("test", 300, 512, 0),
    ]
    assert facts[0]["key"]["weights"] == "random:0"


def test_untrained_weights_are_said_loudly(tmp_path: Path) -> None:
    result = Place(tmp_path).run("extract", "-m", "resnet18", *SMALL, "--limit", "16", "--split", "test")
    assert "UNTRAINED weights (random:0)" in result.stderr


def test_dry_run_computes_nothing(tmp_path: Path) -> None:
    result = Place(tmp_path).run("extract", "-m", "resnet18", *SMALL, "--limit", "300", "--dry-run", "--json")
    facts = json.loads(result.stdout.splitlines()[-1])
    assert [split["rows_there"] for split in facts] == [0, 0]
    assert facts[0]["bytes"] == 300 * 512 * 4
    assert not list(tmp_path.rglob("*.h5"))
    assert "backbone = resnet18" in result.stdout


def test_a_longer_limit_computes_only_what_is_missing(tmp_path: Path) -> None:
    here = Place(tmp_path)
    words = ("extract", "-m", "resnet18", *SMALL, "--split", "test", "--shard-rows", "64", "--json")
    here.run(*words, "--limit", "64")
    result = here.run(*words, "--limit", "100")
    (facts,) = json.loads(result.stdout.splitlines()[-1])
    assert (facts["rows"], facts["computed"]) == (100, 36)


def test_train_head_prints_losses_time_accuracy_and_classes(place: Place) -> None:
    result = place.run("train-head", "--head", "mlp", "--recipe", "standard", "--epochs", "2", "--seed", "5", "--json")
    assert len(re.findall(r"epoch +\d/2  mean loss \d\.\d{4}$", result.stdout, re.MULTILINE)) == 2
    assert re.search(r"test accuracy \d+\.\d\d% \(95 % interval .* to .*, 300 images\)", result.stdout)
    assert re.search(r"^  class +images +precision +recall$", result.stdout, re.MULTILINE)
    assert "note: untrained backbone" in result.stdout
    (facts,) = json.loads(result.stdout.splitlines()[-1])
    folder = place.root / "runs" / facts["name"]
    assert sorted(path.name for path in folder.iterdir()) == ["head.safetensors", "run.json"]
    assert facts["config"]["seed"] == 5


def test_several_seeds_give_mean_and_deviation(place: Place) -> None:
    result = place.run("train-head", "--head", "linear", "--epochs", "1", "--seed", "4", "--seeds", "2", "--json")
    assert re.search(r"2 seeds, mean test accuracy \d+\.\d\d%, standard deviation \d+\.\d\d points", result.stdout)
    assert "linear, standard recipe, 300 rows, 2 heads from seed 4 on\n" in result.stdout
    # on two threads each head is a group of its own, with a line of its own
    heads = re.findall(r"epoch +1/1  mean loss(?: of (2) heads)? \d\.\d{4}$", result.stdout, re.MULTILINE)
    assert heads in (["2"], ["", ""])
    facts = json.loads(result.stdout.splitlines()[-1])
    assert [(run["config"]["seed"], run["together"]) for run in facts] == [(4, 2), (5, 2)]
    for run in facts:
        line = rf"^  seed {run['config']['seed']}: .*; saved in {re.escape(str(place.root / 'runs' / run['name']))}$"
        assert re.search(line, result.stdout, re.MULTILINE)


@pytest.mark.parametrize("head", ["ridge", "knn"])
def test_heads_without_epochs_train_and_predict(place: Place, pictures: Path, head: str) -> None:
    result = place.run("train-head", "--head", head, "--json")
    (facts,) = json.loads(result.stdout.splitlines()[-1])
    assert facts["accuracy"] > 0.5
    run = place.root / "runs" / facts["name"]
    assert "a.png" in place.run("predict", str(pictures / "a.png"), "--head", str(run)).stdout


def test_bench_inference_ends_in_one_json_line(place: Place) -> None:
    result = place.run("bench-inference", "--limit", "40", "-b", "16", "--json")
    (facts,) = json.loads(result.stdout.splitlines()[-1])
    assert facts["images"] == 40
    assert set(facts["stages_s"]) == {"read", "transfer", "preprocess", "backbone", "head"}
    assert set(facts["latency_s"]) == {"p50", "p90", "p99"}
    kept = json.loads((place.root / "runs" / facts["head"] / "bench.json").read_text())
    assert facts in kept["timings"]
    assert facts["images_digest"]  # the very images that the head was tested on


def test_bench_inference_finds_the_labels_that_the_cached_features_gave(place: Place) -> None:
    """The features kept in stage one and those of the timed inference must be the same numbers."""
    trained = json.loads(place.run("train-head", "--head", "mlp", "--epochs", "2", "--json").stdout.splitlines()[-1])
    timed = json.loads(place.run("bench-inference", "--limit", "300", "--json").stdout.splitlines()[-1])
    assert timed[0]["head"] == trained[0]["name"]
    assert timed[0]["accuracy"] == trained[0]["accuracy"]


def test_predict_labels_what_it_can_and_names_what_it_cannot(place: Place, pictures: Path) -> None:
    result = place.run("predict", str(pictures), "--topk", "2", code=1)
    lines = {line.split()[0].rpartition("/")[2]: line for line in result.stdout.splitlines()}
    assert len(re.findall(r"\d+\.\d%", lines["a.png"])) == 2
    assert "can't be read" in lines["broken.jpg"]
    assert f"{pictures / 'broken.jpg'}: can't be decoded" in result.stderr
    assert "head: resnet18-" in result.stderr


def test_predict_as_csv_and_json_agree(place: Place, pictures: Path) -> None:
    files = (str(pictures / "a.png"), str(pictures / "b.jpg"))
    found = json.loads(place.run("predict", *files, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(place.run("predict", *files, "--format", "csv").stdout)))
    assert [row["label"] for row in rows[:3]] == [name for name, _ in next(iter(found[0]["labels"].values()))]
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 2


@pytest.fixture
def calibrated(place: Place, tmp_path: Path) -> Path:
    """A head of the place, as if it had been calibrated on 99 rows."""
    run = next((place.root / "runs").glob("*standard*/head.safetensors"))
    sure = Confidence(3.0, np.linspace(0.01, 0.99, 99, dtype=np.float32), 99)
    path = tmp_path / "calibrated.safetensors"
    checkpoint.save(dataclasses.replace(checkpoint.load(run), confidence=sure), path)
    return path


def test_predict_with_a_coverage_gives_sets_in_every_format(place: Place, pictures: Path, calibrated: Path) -> None:
    words = ("predict", str(pictures / "a.png"), "--head", str(calibrated), "--coverage", "0.95")
    table = place.run(*words)
    assert "95% set" in table.stdout.splitlines()[0]
    assert "about 95% of pictures like the training pictures have their class in the set" in table.stderr
    (found,) = json.loads(place.run(*words, "--format", "json").stdout)
    assert (found["coverage"], list(found["sets"])) == (0.95, list(found["labels"]))
    ((names,), (labels,)) = found["sets"].values(), found["labels"].values()
    assert names[: len(labels)] == [name for name, share in labels if share >= 0.05]
    rows = list(csv.DictReader(io.StringIO(place.run(*words, "--format", "csv").stdout)))
    assert len({row["set"] for row in rows}) == 1
    assert rows[0]["set"] in table.stdout


def test_predict_says_how_many_rows_a_coverage_needs(place: Place, pictures: Path, calibrated: Path) -> None:
    words = ("predict", str(pictures / "a.png"), "--head", str(calibrated), "--coverage", "0.999")
    result = place.run(*words)
    assert "a coverage of 0.999 needs 999 rows of calibration, the head has 99: no class is left out" in result.stderr
    assert "unsure (10 classes possible)" in result.stdout


def test_a_coverage_is_a_share_and_takes_a_calibrated_head(place: Place, pictures: Path) -> None:
    study = next((place.root / "runs").glob("*study*/run.json")).parent
    words = ("predict", str(pictures / "a.png"), "--head", str(study), "--coverage")
    assert "`headstart train-head -m resnet18` makes one that has it" in place.fails(*words, "0.9")
    for wrong in ("0", "1", "95", "nan"):
        assert "Invalid value for '--coverage'" in place.run(*words, wrong, code=2).stderr


def test_predict_compares_models_side_by_side(place: Place, pictures: Path) -> None:
    runs = sorted(str(path.parent) for path in (place.root / "runs").glob("*/run.json"))[:2]
    heads = [word for run in runs for word in ("--head", run)]
    result = place.run("predict", str(pictures / "a.png"), *heads)
    assert len(re.findall(r"\d+\.\d%", result.stdout)) == 6


def test_a_report_on_other_data_than_the_studys_shows_none_of_its_figures(place: Place, pictures: Path) -> None:
    (pictures / "broken.jpg").unlink()
    result = place.run("report", "--photos", str(pictures), "--json")
    report = place.root / "runs" / "report"
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "81.87 %" not in markdown
    assert "12m 47s" not in markdown
    assert any("untrained backbone" in line for line in markdown.splitlines()[:4])
    assert "a.png" in markdown
    facts = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout.splitlines()[-1]) == facts
    rows = list(csv.DictReader(io.StringIO((report / "report.csv").read_text(encoding="utf-8"))))
    (section,) = facts["sections"]
    assert {row["run"] for row in rows} == {run for row in section["rows"] for run in row["runs"]}


def test_study_does_all_steps_and_then_only_redraws(tmp_path: Path) -> None:
    here = Place(tmp_path)
    little = ("--seeds", "3", "--curve-seeds", "2", "--curve-epochs", "3", "--batch-norm-images", "8")
    words = ("study", "-m", "resnet18", *SMALL, *little, "--limit", "120", "--bench-limit", "20")
    plan = here.run(*words, "--dry-run").stdout
    assert re.search(r"resnet18 digits test: 120 images to extract, about 0:00:\d\d at [\d.]+ images/s", plan)
    for recipe in ("study", "standard"):
        assert re.search(rf"resnet18: {recipe} recipe, 3 seeds and curves to train, about 0:\d\d:\d\d$", plan, re.MULTILINE)
    assert re.search(r"resnet18: 40 test images to time inference on, all recipes together, about 0:00:\d\d$", plan, re.M)
    assert re.search(r"^about 0:\d\d:\d\d in all, without", plan, re.MULTILINE)
    assert not (tmp_path / "features").exists()
    first = here.run(*words)
    assert len(list((tmp_path / "runs").glob("resnet18-*/bench.json"))) == 2
    assert "no BatchNorm experiment" in first.stderr  # untrained statistics can't show it
    assert "questions answered in" in first.stdout
    kept = here.run(*words, "--dry-run", "--json").stdout
    assert "resnet18: study recipe, questions already answered" in kept
    assert "resnet18: inference already timed" in kept
    assert json.loads(kept.splitlines()[-1])["total_s"] == 0
    more = json.loads(here.run(*words, "--curve-epochs", "4", "--dry-run", "--json").stdout.splitlines()[-1])
    (one,) = more["models"]
    assert (one["missing"], one["timed"]) == ({"resnet18 digits train": 0, "resnet18 digits test": 0}, 0)
    assert more["total_s"] == one["total_s"] == sum(one["heads_s"].values()) > 0
    second = here.run(*words)
    assert second.stdout.count("already there") == 2
    assert second.stdout.count("already trained") == 2
    assert second.stdout.count("questions already answered") == 2
    assert "epoch" not in second.stdout.partition("# Frozen")[0]
    assert first.stdout.partition("# Frozen")[2] == second.stdout.partition("# Frozen")[2]
    report = tmp_path / "runs" / "report"
    facts = json.loads((report / "report.json").read_text(encoding="utf-8"))
    seeds = facts["sections"][0]["models"]["resnet18"]["study"]["seeds"]
    assert len(seeds["accuracies"]) == 3
    assert f"{100 * seeds['mean']:.2f}" in (report / "report.html").read_text()
    longer = here.run(*words[:-2])
    assert longer.stdout.count("already trained") == 2
    benches = [json.loads(path.read_text())["timings"] for path in (tmp_path / "runs").glob("resnet18-*/bench.json")]
    assert [bench[-1]["images"] for bench in benches] == [500, 500]


def test_a_sweep_says_what_it_tried_on_rows_that_the_heads_did_not_see(tmp_path: Path) -> None:
    here = Place(tmp_path)
    here.run("extract", "-m", "resnet18", *SMALL, "--limit", "100")
    words = ("train-head", "-m", "resnet18", "--epochs", "1", "--sweep", "--head")
    result = here.run(*words, "linear")
    assert "tried 12 configurations" in result.stdout
    assert re.search(r"\*  linear +lr [\d.e-]+", result.stdout)
    (record,) = (tmp_path / "runs").glob("*/run.json")
    selection = json.loads(record.read_text(encoding="utf-8"))["selection"]
    assert (len(selection["tried"]), selection["rows"], selection["folds"]) == (12, 100, 5)
    assert "no learning rate to try; use --head mlp or linear" in here.run(*words, "ridge", code=2).stderr


def test_cache_ls_and_show_name_the_sets(place: Place) -> None:
    listing = place.run("cache", "ls", "--json")
    facts = json.loads(listing.stdout.splitlines()[-1])
    assert [(found["split"], found["feature_dim"]) for found in facts] == [("test", 512), ("train", 512)]
    name = Path(facts[0]["folder"]).name
    assert name in listing.stdout
    shown = place.run("cache", "show", name).stdout
    assert "key: weights = random:0" in shown
    assert "shard-00000.h5  rows 0-299" in shown


def test_models_lists_backbones_and_shows_layers() -> None:
    listed = CliRunner().invoke(cli.cli, ["models"]).stdout
    assert re.search(r"resnet50 +2048 +23\.5 M +8\.2 +224 px +IMAGENET1K_V1 \(76\.13 %\)", listed)
    shown = CliRunner().invoke(cli.cli, ["models", "show", "vgg16"]).stdout
    assert "14,714,688 parameters" in shown
    assert re.search(r"\* +features\.0 +Conv2d +64 x 224 x 224 +1,792", shown)
    assert shown.startswith("vgg16: 14,714,688 parameters, ")  # the facts before the layers


def test_models_show_marks_the_layers_that_can_be_pooled() -> None:
    shown = CliRunner().invoke(cli.cli, ["models", "show", "resnet18", "--image-size", "64", "--json"]).stdout
    *lines, document = shown.splitlines()
    assert "`--layer` takes the 57 layers that are marked with *" in lines
    table = lines[lines.index("`--layer` takes the 57 layers that are marked with *") + 2 :]
    assert [line.split()[1] for line in table if line.startswith("*")] == list(json.loads(document)["inner_layers"])
    assert [line.split()[0] for line in table if not line.startswith("*")][:2] == ["layer1.0.relu", "layer1.1.relu"]
    assert ["*", "layer2", "Sequential", "128", "x", "8", "x", "8"] in [line.split() for line in table]


def test_helpful_errors(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one line that says what, where, expected, and what to do next."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    empty = Place(tmp_path)
    cases = {
        (
            "extract",
            "-m",
            "resnet51",
        ): "is unknown (did you mean resnet50 or resnet18 or resnet152?); there are vgg16, vgg19",
        (
            "extract",
            "--dataset",
            "mnist",
        ): "--dataset mnist: unknown (did you mean torchvision:MNIST?), expected one of cifar10, classes:PATH, digits",
        ("extract", "--dataset", "digits"): "three ways out",
        ("extract", "--dataset", "digits", "--weights", "no.pth"): "--weights no.pth: no such file",
        ("extract", "--dataset", "folder:nowhere"): "folder:nowhere: no such folder",
        ("extract", "--dataset", "digits", "--weights", "random", "--precision", "tf32"): "only CUDA devices have it",
        ("train-head",): "no training features; make them with `headstart extract`",
        ("train-head", "-m", "vgg16"): "no training features of vgg16",
        ("bench-inference",): "no trained head; make one with `headstart train-head`",
        ("predict", str(tmp_path / "none.jpg")): "no picture there",
        ("predict", __file__, "--head", str(tmp_path / "none")): "can't be read",
        ("report",): "no trained head to report on",
        ("cache", "show", "nothing"): "no complete feature set; there are: none",
        ("models", "show", "resnet51"): "model 'resnet51' is unknown",
    }
    for words, expected in cases.items():
        assert expected in empty.fails(*words), words
    run = next((place.root / "runs").glob("*/run.json")).parent
    assert "backbone is resnet18 in the head given" in place.fails("predict", __file__, "--head", str(run), "-m", "vgg16")
    wrong = place.fails("predict", __file__, "--head", str(run), "--weights", "random:1")
    assert re.search(
        r"weights_sha256 of random:1 .* is [0-9a-f]{64}, the head's features were made with [0-9a-f]{64}", wrong
    )


def test_usage_errors_exit_with_2(tmp_path: Path) -> None:
    assert "Invalid value for '--limit'" in Place(tmp_path).run("extract", "--limit", "0", code=2).stderr
    assert "No such command" in CliRunner().invoke(cli.cli, ["extrakt"]).stderr


def test_names_from_files_cannot_move_the_cursor(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2Jevil.png"
    Image.new("RGB", (8, 8)).save(path)
    result = place.run("predict", str(path))
    assert "\x1b" not in result.stdout + result.stderr
    assert r"\x1b[2Jevil.png" in result.stdout


def test_the_two_ways_to_call_it_are_the_same() -> None:
    script = Path(sys.executable).parent / "headstart"
    if not script.exists():
        pytest.skip("the console script is not installed in this environment")
    calls = ([sys.executable, "cli.py", "--version"], [str(script), "--version"])
    first, second = (subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout for call in calls)
    assert first == second
    assert first.startswith("headstart, version ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_in_order_and_the_same_command_goes_on(tmp_path: Path, number: int, code: int) -> None:
    """Started as a shell starts background jobs, with SIGINT ignored; what is finished is kept, nothing else is left."""
    here = Place(tmp_path)
    words = ["extract", "-m", "resnet18", *SMALL, "--limit", "400", "--split", "train", "--shard-rows", "32", "-b", "16"]
    call = [sys.executable, "cli.py", *words, "--features-dir", str(tmp_path / "features"), "--device", "cpu"]
    ignore = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *call]
    with subprocess.Popen(ignore, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while not list(tmp_path.rglob("shard-00001.h5")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on from there" in said.splitlines()[-1]
    assert not list(tmp_path.rglob("*.tmp"))
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.h5")}
    assert "400 x 512" in here.run(*words).stdout
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


IN_A_LONG_CALL = """
import hashlib, sys, cli
with cli.SIGNALS:
    cli.SIGNALS.deferred = True
    print("working", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # half an hour without a bytecode
"""


def test_a_second_signal_leaves_at_once_out_of_a_call_that_runs_no_handlers() -> None:
    with subprocess.Popen([sys.executable, "-c", IN_A_LONG_CALL], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        for _ in range(2):  # the echo of a signal, sent to a process and then to its group, is not a second request
            process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            process.wait(2 * ECHO_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_cache_verify_names_the_damage_and_extract_mends_it(tmp_path: Path) -> None:
    here = Place(tmp_path)
    words = ("extract", "-m", "resnet18", *SMALL, "--limit", "96", "--split", "test", "--shard-rows", "32")
    here.run(*words)
    assert re.search(r"digits-test-resnet18-[0-9a-f]{8}: whole", here.run("cache", "verify").stdout)
    shard = next(tmp_path.rglob("shard-00001.h5"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    result = here.run("cache", "verify", "--json", code=1)
    assert f"{shard}: SHA-256 is" in result.stderr
    (faults,) = json.loads(result.stdout.splitlines()[-1]).values()
    assert len(faults) == 1
    mended = here.run(*words)
    assert "shard-00001.h5 is damaged and will be made anew" in mended.stderr
    assert "; 32 images in" in mended.stdout
    assert shard.read_bytes() == content
    here.run("cache", "verify")


def test_cache_export_and_rm(tmp_path: Path) -> None:
    here = Place(tmp_path)
    here.run("extract", "-m", "resnet18", *SMALL, "--limit", "16", "--split", "test")
    (folder,) = (tmp_path / "features").glob("digits-*")
    here.run("cache", "export", folder.name, str(tmp_path / "out.npy"))
    assert np.load(tmp_path / "out.features.npy").shape == (16, 512)
    assert "removed" in here.run("cache", "rm", folder.name).stdout
    assert not folder.exists()
    assert "no such feature set" in here.fails("cache", "rm", folder.name)


# ---- folders of pictures


RANDOM = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


def write_classes(root: Path, *folders: str, count: int = 3) -> None:
    random = np.random.default_rng(len(folders))
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number}.png")


def test_extract_says_what_it_found_before_it_begins(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", "train/cat", "train/dog", "val/cat", "val/dog")
    (tmp_path / "pets/train/cat/x.jxl").touch()
    (tmp_path / "pets/train/emu\n").mkdir()
    said = Place(tmp_path).run("extract", *RANDOM, "--dataset", f"folder:{tmp_path}/pets", "--dry-run").stderr.splitlines()
    assert said[1:] == [
        "note: train: 6 pictures of 2 of 3 classes; left out: 1 file (.jxl 1); .jxl can't be read here: "
        "convert such pictures to JPEG or PNG",
        "note: the folder has no test pictures: heads are tested by cross-validation, and chosen on val/ if it has "
        "100 pictures or more and both folders have all classes (else it may join train/); call val/ test/ to test on it "
        "instead",
        r"note: 1 class folder is empty: emu\n",
        "note: val: 6 pictures of 2 of 3 classes",
    ]


def test_a_class_called_test_can_be_made_one_by_hand(tmp_path: Path) -> None:
    write_classes(tmp_path / "trains", "engine/a", "test/b", "wagon/c")
    here, spec = Place(tmp_path), f"folder:{tmp_path}/trains"
    assert "would leave out the pictures in engine, wagon" in here.fails("extract", *RANDOM, "--dataset", spec)
    (facts,) = json.loads(here.run("extract", *RANDOM, "--dataset", spec, "--no-splits", "--json").stdout.splitlines()[-1])
    assert (facts["split"], facts["rows"], facts["classes"]) == ("all", 9, ["engine", "test", "wagon"])
    again = here.run("extract", *RANDOM, "--dataset", f"classes:{tmp_path}/trains")
    assert "already there" in again.stdout


def test_two_folders_of_one_name_give_two_data_sets(tmp_path: Path) -> None:
    here = Place(tmp_path)
    for parent in ("a", "b"):
        write_classes(tmp_path / parent / "pets", "cat", "dog", count=2 if parent == "a" else 3)
    here.run("extract", *RANDOM, "--dataset", f"folder:{tmp_path}/a/pets")
    said = here.run("extract", *RANDOM, "--dataset", f"folder:{tmp_path}/b/pets")
    assert f"note: features of {tmp_path}/b/pets are called folder-pets-2: folder-pets is of another folder" in said.stderr
    assert "resnet18 folder-pets-2 all: 6 x 512" in said.stdout


def test_a_guess_about_a_picture_is_said_after_the_run(tmp_path: Path) -> None:
    write_classes(tmp_path / "scans", "cat", "dog")
    for name, value in (("a.png", 4000), ("b.png", 3000)):
        Image.fromarray(np.full((12, 12), value, dtype=np.uint16)).save(tmp_path / "scans/cat" / name)
    said = Place(tmp_path).run("extract", *RANDOM, "--dataset", f"folder:{tmp_path}/scans").stderr
    assert re.search(
        r"note: 2 pictures, first cat/[ab]\.png: no value above 4095 in a file of 16 or 32 bits: taken as", said
    )


def test_predict_walks_a_folder_as_extract_does(place: Place, pictures: Path) -> None:
    (pictures / "broken.jpg").unlink()
    (pictures / "._a.jpg").write_bytes(b"no picture")
    (pictures / ".trash").mkdir()
    (pictures / ".trash/c.png").write_bytes((pictures / "a.png").read_bytes())
    (pictures / "x.jxl").touch()
    result = place.run("predict", str(pictures), "--format", "csv")
    assert {Path(row["picture"]).name for row in csv.DictReader(io.StringIO(result.stdout))} == {"a.png", "b.jpg"}
    assert "2 pictures; left out: 1 file (.jxl 1)" in result.stderr


@pytest.mark.parametrize("words", [("cache", "show"), ("cache", "verify"), ("models", "show")])
def test_options_that_do_nothing_are_taken_but_not_shown(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli.cli, [*words, "--help"]).stdout
    assert "--json" in shown
    assert not any(option in shown for option in ("--runs-dir", "--data-dir", "--device"))
    more = ("resnet18",) if words[1] == "show" else ()
    parse(" ".join(["headstart", *words, *more, "--runs-dir", "x", "--data-dir", "x", "--device", "cpu"]))
