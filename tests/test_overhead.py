"""The benchmark of what reliability costs runs anywhere and writes what it measured; its figures are not judged here."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from extract_samples import ROOT

PARTS = 10
"""Things that an extraction does and a plain loop does not."""


@pytest.mark.slow
def test_the_overhead_benchmark_writes_every_time_it_took(tmp_path: Path) -> None:
    sizes = ("--rows", "8", "--set-rows", "100", "--repeats", "1", "--json", "overhead.json")
    found = subprocess.run(
        [sys.executable, ROOT / "benchmarks/overhead.py", *sizes],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "overhead " in found.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["overhead.json"]  # the sets it made are gone
    report = json.loads((tmp_path / "overhead.json").read_bytes())
    assert set(report) == {"environment", "repeats", "extraction", "opening"}
    assert {"hardware", "threads", "load_average", "system", "versions"} == set(report["environment"])
    run, opened = report["extraction"], report["opening"]
    assert (run["rows"], run["image_size"], run["dataset"]) == (8, 224, "digits")
    assert (opened["rows"], opened["feature_dim"], opened["bytes"]) == (100, 2048, 100 * 2048 * 2)
    assert set(run["times_s"]) == {"plain", "extract"}
    assert len(run["parts_s"]) == PARTS
    assert set(opened["times_s"]) == {"load", "read", "sha256", "decode", "concatenate"}
    for times in (run["times_s"], run["parts_s"], opened["times_s"]):
        assert all(len(seconds) == 1 and seconds[0] >= 0 for seconds in times.values())
    pairs = zip(run["times_s"]["plain"], run["times_s"]["extract"], strict=True)
    assert run["ratios"] == [extract / plain for plain, extract in pairs]
    assert f"{100 * (statistics.median(run['ratios']) - 1):+.2f} %" in found.stdout
