"""The benchmarks list, run and tabulate what they promise, at sizes that take seconds; no figure is judged here."""

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from extract_samples import ROOT, write_picture

from headstart.core.extract.network.devices import resolve

TINY = ("-m", "resnet18", "--dataset", "digits", "--way", "headstart", "--engine", "eager", "--image-size", "32")
POINTS = ("--scaling", "--scale-rows", "16,32", "--scale-batches", "8,16", "--scale-sizes", "32,64", "--scale-images", "32")
DOCUMENT = """# Before
<!-- table: extraction -->
old
<!-- end -->
between <!-- end --> and | a | table |
<!-- table: scaling --><!-- end -->
<!-- table: heads -->
<!-- end --><!-- table: heads rows -->
<!-- end -->
<!-- table: overhead -->
kept
<!-- end -->
After, without a newline at the end"""


def run(script: str, *words: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A benchmark as a user runs it."""
    call = [sys.executable, ROOT / "benchmarks" / script, *map(str, words)]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)


def pictures_of(root: Path, rows: int) -> str:
    """A data set of so many pictures to train and one to test: quicker than digits, which take scikit-learn."""
    for row in range(rows):
        write_picture(root / "pictures/train/any" / f"{row}.png", row)
    write_picture(root / "pictures/test/any/0.png")
    return f"folder:{root}/pictures"


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of benchmarks/; the folder comes last, since it has a heads.py too."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    return importlib.import_module(name)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/table.py."""
    return module("table", monkeypatch)


@pytest.fixture
def extraction(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/extraction.py."""
    return module("extraction", monkeypatch)


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/rates.py."""
    return module("rates", monkeypatch)


def old_extraction() -> dict[str, Any]:
    """A file from before engines were listed and copies were measured: texts as options, no device, three figures."""
    turns = [{"total_s": 4.0, "images": 64, "pass_s": 2.0}, {"total_s": 5.0, "images": 64, "pass_s": 2.5}]
    limit = {"fp32": 100e9, "bf16": 421e9, "flops": 4.21e9}
    return {
        "hardware": {"cpu": "Some CPU", "cores": 2, "gpu": None, "versions": {"torch": "2.15.0"}},
        "options": {"engine": "compiled", "rows": "512", "dataset": "cifar10", "image_size": "224"},
        "models": {
            "resnet50": {
                "rates": {"study": 8.0, "headstart": 28.8},
                "totals": {"study": 11.0, "headstart": 4.5},
                "matmul": limit,
                "turns": {
                    "study": [{"total_s": 11.0, "images": 16, "pass_s": 2.0}],
                    "headstart": turns,
                    "matmul": [{"total_s": 1.0, **limit}],
                },
            }
        },
    }


def new_extraction(device: str = "cpu") -> dict[str, Any]:
    """As extraction.py writes it now, with everything that can be asked for."""
    turn = {"total_s": 4.0, "images": 64, "pass_s": 2.0, "pixels": "random 32 x 32 pixels"}
    point = {"images": 64, "seconds": 2.0, "rate": 32.0, "range": [31.0, 33.0], "turns": [turn]}
    further = {**point, "images": 128, "seconds": 5.0, "rate": 25.6}
    found = old_extraction()
    found["hardware"]["gpu"] = "Some GPU"
    found["options"] |= {"engines": ["eager", "compiled"], "dataset": "random"}
    del found["options"]["engine"]
    model = found["models"]["resnet50"]
    model["rates"]["headstart eager"] = model["rates"].pop("headstart")
    model["totals"]["headstart eager"] = model["totals"].pop("headstart")
    model["turns"]["headstart eager"] = model["turns"].pop("headstart")
    model["matmul"] |= {"copy": 10e9, "pinned_copy": 50e9, "traffic": 1e8}
    curves = {"rows": {"64": point, "128": further}, "batch_size": {"8": point}, "image_size": {"32": point, "64": further}}
    fixed = {"model": "resnet50", "engine": "eager", "images": 64, "size": 224, "batch": None}
    whole = {"model": "resnet50", "image_size": 224, "rows": {"headstart eager": {**point, "images": 60_000}}}
    return found | {"device": device, "precision": "bf16", "whole": whole, "scaling": fixed | curves}


def heads_file() -> dict[str, Any]:
    times = {"study recipe, one head": [2.0, 2.5, 2.2], "study recipe, 32 heads": [44.0]}
    scaled = {"study recipe, 1,000 rows": [0.2], "study recipe, 10,000 rows": [1.0]}
    return {"hardware": old_extraction()["hardware"], "rows": 24_000, "dim": 2048, "seeds": 32, "times": times | scaled}


def overhead_file() -> dict[str, Any]:
    return {
        "environment": {"hardware": "Some CPU, 2 cores", "versions": {"torch": "2.15.0"}},
        "repeats": 2,
        "extraction": {
            "rows": 8,
            "dataset": "digits",
            "image_size": 224,
            "precision": "bf16",
            "times_s": {"plain": [2.0, 2.0], "extract": [2.1, 2.3]},
            "ratios": [1.05, 1.15],
            "parts_s": {"shards hashed": [0.02, 0.02]},
        },
        "opening": {"rows": 100, "feature_dim": 2048, "bytes": 409_600, "times_s": {"load": [0.5, 0.7]}},
    }


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------ extraction.py


def test_the_plan_lists_every_process_and_runs_none(tmp_path: Path) -> None:
    """Every way, engine and point of the GPU's preset, on a machine that need not have one, and without torch."""
    script = ROOT / "benchmarks" / "extraction.py"
    words = [str(script), "--gpu", "--plan", "--scaling", "--dataset", "random", "--repeats", "3", "--scale-sizes", "32,64"]
    code = (
        f"import runpy, sys\nsys.argv = {words!r}\nsys.path.insert(0, {str(script.parent)!r})\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    first, *rest, torch = found.stdout.splitlines()
    processes = [line.split() for line in rest if line.startswith("  ")]
    assert torch == "False"
    assert list(tmp_path.iterdir()) == []
    of_models = [(words[0], words[1:3]) for words in processes[:16]]
    rows = (["study", "cuda"], ["headstart", "eager"], ["headstart", "compiled"], ["matmul", "cuda"])
    assert of_models == [(model, row) for model in ("vgg16", "vgg19", "resnet50", "resnet152") for row in rows]
    assert ["60000" in words for words in processes[16:19]] == [True, True, False]
    assert len(processes) == 4 * 4 + 2 + 4 + 5 + 2
    assert first == f"{3 * len(processes)} processes, 3 turns of each; nothing was run"
    assert all(words[-1] and "cuda" in words for words in processes)


def test_the_plan_names_what_each_process_compares() -> None:
    found = run("extraction.py", "--plan", *TINY, *POINTS, "--whole", "100", "--batch-size", "4", "--precision", "fp32")
    assert (found.returncode, found.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in found.stdout.splitlines()]
    ours = "resnet18 headstart eager auto fp32 eager"
    assert f"{ours} 2048 images at 32 px, batch 4 : the whole extract: every hash, check, file and fsync" in lines
    assert f"{ours} 100 images at 32 px, batch 4 : every image there is, both splits, as headstart" in lines
    point = "resnet18 headstart auto fp32 eager 32 images at"
    assert f"{point} 32 px, batch 16 : x the first's seconds" in lines
    assert f"{point} 64 px, batch 4 : x proportional to pixels" in lines


def test_cifar10_that_is_not_there_becomes_random_pixels_and_is_said(tmp_path: Path) -> None:
    found = run("extraction.py", "--plan", "--data-dir", tmp_path, "--way", "headstart")
    assert found.stderr == f"no CIFAR-10 below {tmp_path}: random 32 x 32 pixels instead\n"
    assert "resnet50, random 32 x 32 pixels at 224 px" in found.stdout


def test_a_way_without_its_python_is_told() -> None:
    found = run("extraction.py", "--plan", "--dataset", "random", "--way", "timm", "--way", "headstart")
    assert found.stderr == "timm: skipped, no --timm PYTHON\n"


@pytest.mark.parametrize("script", ["extraction.py", "heads.py"])
def test_a_gpu_that_is_not_there_is_one_line(script: str, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    found = run(script, "--device", "cuda", folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert found.stderr.startswith("--device cuda: 0 CUDA devices found here; use --device auto")
    assert ("--plan lists" in found.stderr) == (script == "extraction.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--json", "nowhere/found.json"), "--json nowhere/found.json: found no folder nowhere, expected one"),
        (("--scale-rows", "64,many"), "expected positive whole numbers with commas"),
        (("--dataset", "folder:nowhere", "--way", "plain", "--device", "cpu"), "--dataset folder:nowhere: no such folder"),
    ],
    ids=["folder", "numbers", "data"],
)
def test_what_can_not_be_run_is_said_without_a_traceback(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = run("extraction.py", *words, folder=tmp_path)
    assert found.returncode != 0
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_a_tiny_run_writes_every_figure(tmp_path: Path) -> None:
    words = ("--dataset", pictures_of(tmp_path, 32), "--rows", "32", "--repeats", "1", "--json", "found.json")
    found = run("extraction.py", *TINY, *words, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "found.json"}
    results = json.loads((tmp_path / "found.json").read_bytes())
    assert set(results) == {"hardware", "device", "precision", "options", "models", "failed"}
    assert results["failed"] == []
    model = results["models"]["resnet18"]
    assert set(model) == {"rates", "totals", "matmul", "turns"}
    assert set(model["turns"]) == {"headstart eager", "matmul"}
    [turn] = model["turns"]["headstart eager"]
    assert (turn["images"], turn["engine"], turn["pixels"]) == (32, "eager", "folder-pictures")
    assert model["rates"] == {"headstart eager": 32 / turn["pass_s"]}
    fast = resolve("cpu", "auto").precision
    assert set(model["matmul"]) == {"fp32", "copy", "flops", "traffic"} | {fast}
    assert all(rate > 0 for rate in model["matmul"].values())
    assert f"of the {fast} matmul rate" in found.stdout
    assert ("bf16 left out: no instructions for it here" in found.stdout) == (fast == "fp32")


@pytest.fixture
def in_this_process(extraction: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/extraction.py whose ways run here: a process of their own takes seconds to import torch."""
    ways = importlib.import_module("ways")

    def told(process: Any) -> dict[str, Any]:
        found = getattr(ways, process.request["way"])(process.request)
        return {"total_s": 1.0, **json.loads(json.dumps(found))}

    monkeypatch.setattr(extraction, "run", told)
    monkeypatch.setenv("HEADSTART_BENCH", "set by the benchmark")
    return extraction


@pytest.mark.slow
def test_curves_have_their_points_and_a_whole_that_the_data_has_not_is_random_pixels(
    in_this_process: ModuleType, tmp_path: Path
) -> None:
    """33 pictures of both splits are fewer than 34."""
    output = tmp_path / "found.json"
    words = ("--dataset", pictures_of(tmp_path, 32), "--no-ways", "--whole", "34", "--repeats", "1", "--json", str(output))
    found = CliRunner().invoke(in_this_process.main, [*TINY, *POINTS, *words], catch_exceptions=False)
    assert found.exit_code == 0, found.stderr
    assert "34 images, random 32 x 32 pixels: " in found.stdout
    results = json.loads(output.read_bytes())
    assert set(results) == {"hardware", "device", "precision", "options", "models", "failed", "scaling", "whole"}
    assert (results["failed"], results["models"]) == ([], {})
    scaling = results["scaling"]
    assert (scaling["model"], scaling["engine"], scaling["images"]) == ("resnet18", "eager", 32)
    values = {axis: list(scaling[axis]) for axis in ("rows", "batch_size", "image_size")}
    assert values == {"rows": ["16", "32"], "batch_size": ["8", "16"], "image_size": ["32", "64"]}
    assert [point["images"] for point in scaling["rows"].values()] == [16, 32]
    assert [point["turns"][0]["batch_size"] for point in scaling["batch_size"].values()] == [8, 16]
    for axis in values:
        assert all({"images", "seconds", "rate", "range", "turns"} == set(point) for point in scaling[axis].values())
    assert "1.00 x proportional to pixels" in found.stdout


@pytest.mark.slow
def test_a_process_that_fails_is_told_and_ends_no_benchmark(tmp_path: Path) -> None:
    """Weights that no file holds."""
    whole = ("--no-ways", "--whole", "8", "--repeats", "1", "--json", "found.json", "--weights", "nowhere.pth")
    failed = run("extraction.py", *TINY, *whole, folder=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.endswith("1 processes failed; their rows are missing\n")
    [told] = json.loads((tmp_path / "found.json").read_bytes())["failed"]
    assert "nowhere.pth" in told


@pytest.mark.parametrize("fast", ["bf16", "fp32"])
def test_bf16_is_measured_where_the_device_has_instructions_for_it(
    fast: str, rates: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere PyTorch takes minutes for a product of this size."""
    measured: list[torch.dtype] = []

    def timed(work: functools.partial[torch.Tensor], device: str) -> float:
        measured.append(work.args[0].dtype)
        return 1.0

    monkeypatch.setattr(rates, "fastest", timed)
    monkeypatch.setattr(rates, "multiplies_bf16", lambda _: fast == "bf16")
    monkeypatch.setattr(rates, "copy_rates", lambda _: {})
    found = rates.matmul({"model": "resnet18", "image_size": "32", "device": "cpu", "precision": "fp32"})
    assert measured == [torch.float32, torch.bfloat16][: 2 if fast == "bf16" else 1]
    assert ("bf16" in found) == (fast == "bf16")


def test_a_share_is_of_bf16_or_where_that_was_left_out_of_fp32_and_says_so(
    extraction: ModuleType, table: ModuleType
) -> None:
    limit = {"fp32": 100e9, "bf16": 400e9, "copy": 10e9, "flops": 1e9, "traffic": 1e8}
    without = {name: rate for name, rate in limit.items() if name != "bf16"}
    assert "100 GFLOP/s in fp32, 400 in bf16; copy" in extraction.limits_named(limit)
    assert "100 GFLOP/s in fp32, bf16 left out: no instructions for it here; copy" in extraction.limits_named(without)
    assert extraction.shares_named(20, limit) == "     5% of the bf16 matmul rate,   20% of the copy rate"
    assert extraction.shares_named(20, without) == "    20% of the fp32 matmul rate,   20% of the copy rate"
    assert [table.matmul_share(20, one) for one in (limit, without, {})] == ["5%", "20% of fp32", ""]
    assert table.limits_named([limit]) == "400 GFLOP/s in bf16, 10 GB/s copied; "
    assert table.limits_named([without]) == "100 GFLOP/s in fp32, bf16 left out, 10 GB/s copied; "


# ------------------------------------------------------------------------------------------------ table.py


def test_tables_replace_what_is_between_markers_and_nothing_else(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{i}.json", content) for i, content in enumerate((new_extraction(), heads_file()))]
    document = written(tmp_path / "speed.md", DOCUMENT)
    first = run("table.py", document, *files)
    assert (first.returncode, first.stderr) == (0, "")
    once = document.read_text(encoding="utf-8")
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"speed.svg", "speed-scaling.svg"}
    assert run("table.py", document, *files).returncode == 0
    assert document.read_text(encoding="utf-8") == once
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")} == drawn
    pieces = (
        "# Before\n",
        "between <!-- end --> and | a | table |\n",
        "\nkept\n<!-- end -->\nAfter, without a newline at the end",
    )
    assert all(once.count(piece) == 1 for piece in pieces)
    assert once.startswith(pieces[0])
    assert once.endswith(pieces[2])
    assert "\nold\n" not in once


def test_every_figure_is_in_its_table(table: ModuleType) -> None:
    tables = table.all_tables([("extraction", new_extraction()), ("heads", heads_file())], "speed", "")
    tables |= table.all_tables([("overhead", overhead_file())], "speed", "")
    assert "| resnet50 | headstart eager | 28.8 | 25.6 to 32.0 | 3.60 | 29% | 29% | 4.5 |" in tables["extraction"]
    assert "random pixels at 224 px" in tables["extraction"]
    assert "- 60,000 images (random 32 x 32 pixels) at 224 px, resnet50, headstart eager: 2.00 s" in tables["extraction"]
    assert "| 128 | 5 | 25.6 | 31.0 to 33.0 | 1.25 |" in tables["scaling"]  # 2.5 times the seconds for twice the images
    assert "| 64 | 5 | 25.6 | 31.0 to 33.0 | 0.62 |" in tables["scaling"]  # and for four times the pixels
    assert "| study recipe, 32 heads | 44.00 | 20.00 |" in tables["heads"]
    assert "rows |" not in tables["heads"]
    assert "| 10,000 | 1.00 | 0.50 |" in tables["heads rows"]
    assert "| extract | 2.2000 | 110.00% |" in tables["overhead"]
    assert "+10.00 %, the median of 2 pairs (+5.00 to +15.00 %)" in tables["overhead"]


def test_what_was_measured_on_cuda_stands_apart(table: ModuleType) -> None:
    found = new_extraction("cuda:0")
    assert table.suffix_of(found) == " gpu"
    assert "Some GPU, torch 2.15.0" in table.extraction([found], "speed-gpu.svg")
    assert table.figure_name("speed", "-scaling", " gpu") == "speed-scaling-gpu.svg"


def test_files_of_the_old_form_are_still_read(tmp_path: Path) -> None:
    old = written(tmp_path / "old.json", old_extraction())
    document = written(tmp_path / "speed.md", DOCUMENT)
    found = run("table.py", document, old)
    assert (found.returncode, found.stderr) == (0, "")
    text = document.read_text(encoding="utf-8")
    assert "| resnet50 | headstart | 28.8 | 25.6 to 32.0 | 3.60 | 29% | 4.5 |" in text
    assert (
        "64 images a pass, the others' 16, medians of 2 turns, cifar10 at 224 px, headstart compiled; 421 GFLOP/s" in text
    )
    assert "memory copy" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no markers", "found 0 times <!-- table: heads --> with <!-- end --> after it, expected once; add both lines"),
        ("<!-- table: heads -->\nno end", "found 1 times <!-- table: heads --> with <!-- end --> after it"),
        ("<!-- table: heads --><!-- end --><!-- table: heads --><!-- end -->", "found 2 times <!-- table: heads -->"),
        ("<!-- table: heads --><!-- table: overhead --><!-- end -->", "found 1 times <!-- table: heads -->"),
    ],
    ids=["none", "no end", "twice", "another begins"],
)
def test_a_missing_marker_is_an_error(text: str, message: str, table: ModuleType) -> None:
    with pytest.raises(ValueError, match=message):
        table.replaced(text, "heads", "| a |", Path("speed.md"))


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": 1}'], ids=["cut", "list", "other"])
def test_a_file_that_is_no_benchmarks_is_one_line_and_nothing_is_written(content: str, tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good.json", old_extraction()), written(tmp_path / "bad.json", content)
    document = written(tmp_path / "speed.md", DOCUMENT)
    found = run("table.py", document, good, bad)
    assert (found.returncode, found.stderr.count("\n")) == (1, 1)
    assert found.stderr.startswith(f"{bad}: no ")
    assert document.read_text(encoding="utf-8") == DOCUMENT
    assert not list(tmp_path.glob("*.svg"))


def test_the_documents_markers_are_those_that_tables_have(table: ModuleType) -> None:
    """Every table that can be made, for a CPU and for a GPU, has its place in docs/performance.md."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    files = [("extraction", new_extraction()), ("heads", heads_file())]
    names = {name + suffix for suffix in ("", " gpu") for name in table.all_tables(files, "performance", suffix)}
    for name in {*names, "overhead", "changes"}:
        assert table.replaced(text, name, "| a |", Path("performance.md")) != text, name
    assert text.count("<!-- table: ") == text.count("<!-- end -->") == len(names) + 2


@pytest.mark.slow
def test_the_paths_benchmark_compares_what_it_says(tmp_path: Path) -> None:
    sizes = ("-m", "resnet18", "--images", "8", "--image-size", "32", "--repeats", "1", "--device", "cpu")
    found = run("predict.py", *sizes, "--json", tmp_path / "predict.json")
    assert (found.returncode, found.stderr) == (0, "")
    kept = json.loads((tmp_path / "predict.json").read_bytes())
    (turn,) = kept["turns"]
    assert turn["predict_to_extract"] == turn["predict"] / turn["extract"]
    assert kept["medians"] == {name: turn[name] for name in ("extract", "predict", "predict_to_extract")}


def test_the_cost_of_changes_is_measured_and_put_into_a_document(tmp_path: Path) -> None:
    document, path = tmp_path / "document.md", tmp_path / "changes.json"
    document.write_text("before\n<!-- table: changes -->\nwhat was there\n<!-- end -->\nafter\n")
    small = ("--model", "resnet18", "--weights", "random:0", "--dataset", "digits", "--image-size", 32, "--rows", 40)
    done = run("changes.py", *small, "--turns", 1, "--json", path, "--into", document)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    computed = {one["change"]: one["computed"] for one in found["costs"]}
    assert [computed.pop("everything computed"), computed.pop("1 % more pictures")] == [40, 1]
    assert set(computed.values()) == {0}
    assert len(computed) == 6
    before, table, after = document.read_text().partition(done.stdout.strip())
    assert (before.splitlines()[0], after.splitlines()[-1]) == ("before", "after")
    assert table
    assert "what was there" not in document.read_text()


@pytest.mark.slow
def test_executors_are_measured_beside_one_process(tmp_path: Path) -> None:
    path = tmp_path / "executors.json"
    sizes = ("--limit", 24, "--image-size", 32, "--shard-rows", 8, "--repeats", 1, "--only", "processes 2", "--json", path)
    done = run("executors.py", *sizes)
    assert done.returncode == 0, done.stderr
    assert "all shards are the same" in done.stdout
    found = {one["way"]: one for one in json.loads(path.read_text())["ways"]}
    assert [*found] == ["local, half the threads", "local", "processes 2"]
    assert found["local"]["overhead"] == 0
    assert found["processes 2"]["overhead"] == found["processes 2"]["pass_s"][0] / found["local"]["pass_s"][0] - 1


def test_an_audit_of_many_rows_is_measured_stage_by_stage(tmp_path: Path) -> None:
    done = run("audit_scale.py", "--rows", 600, "--dim", 32, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    (facts,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["found"]
    assert (facts["rows"], facts["dim"]) == (600, 32)
    assert [*facts["stages"]] == ["neighbours", "heads", "all", "rest"]
    assert 0 < facts["stages"]["heads"]["elapsed_s"] < facts["elapsed_s"]


def test_training_in_blocks_is_measured(tmp_path: Path) -> None:
    sizes = ("--rows", 600, "--test-rows", 100, "--dim", 16, "--memory", "100MB", "--head", "ridge")
    done = run("memory.py", *sizes, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts == json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [(one["head"], one["memory"], one["in_blocks"]) for one in facts["found"]] == [
        ("ridge", 100_000_000, False),
        ("ridge", None, False),
    ]
    assert facts["found"][0]["accuracy"] == facts["found"][1]["accuracy"]
    assert all(one["peak_bytes"] > 0 for one in facts["found"])
    assert facts["plain_bytes_per_s"] > 0
