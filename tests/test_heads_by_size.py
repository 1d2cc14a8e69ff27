"""The benchmark of heads: rows are drawn in the shares asked for, both sides get them, the table tells what came out."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from heads_samples import blobs
from heads_samples import one_thread as one_thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import heads_by_size
import heads_table

UNEVEN = heads_by_size.Case(2, balanced=False)


def test_rows_are_drawn_in_the_shares_of_the_case_and_labelled_from_0() -> None:
    data = blobs(300)
    found = heads_by_size.drawn(data, [2, 0], UNEVEN.shares(), 66, np.random.default_rng(0))
    assert found is not None
    assert np.bincount(found.labels).tolist() == [6, 60]
    assert {tuple(row) for row in found.features[found.labels == 0]} <= {
        tuple(row) for row in data.features[data.labels == 2]
    }
    assert len(np.unique(found.features, axis=0)) == 66


def test_more_rows_than_there_are_give_none_and_all_rows_are_taken_as_they_are() -> None:
    data, even = blobs(90), heads_by_size.Case(3, balanced=True)
    assert heads_by_size.drawn(data, [0, 1], UNEVEN.shares(), 66, np.random.default_rng(0)) is None
    everything = heads_by_size.drawn(data, [0, 1, 2], even.shares(), 90, np.random.default_rng(0))
    assert everything is not None
    assert np.bincount(everything.labels).tolist() == np.bincount(data.labels).tolist()


def test_both_sides_learn_the_same_rows_and_the_table_tells_it(tmp_path: Path) -> None:
    one = heads_by_size.turn(blobs(60), blobs(90, seed=1), 3, 0)
    assert one.ours > 0.9
    assert one.reference > 0.9
    assert one.tested == 90
    assert 80 <= one.covered["95%"] <= 90
    document, file = tmp_path / "heads.md", tmp_path / "one.json"
    document.write_text("before\n<!-- table: sizes -->\n<!-- end -->\n<!-- table: coverage -->\n<!-- end -->\nafter\n")
    cell = {"backbone": "b", "case": "3 classes", "rows": 60, "ours": 0.9, "reference": 0.91, "ece": 0.02, "share": 0.25}
    hardware = {"cpu": "some processor", "cores": 2, "versions": {"torch": "2.11"}}
    cells = [{**cell, "turns": [{"chosen": one.chosen, "tested": 90, "covered": one.covered}]}]
    file.write_text(json.dumps({"hardware": hardware, "cells": cells}))
    found = CliRunner().invoke(heads_table.main, [str(document), str(file)])
    assert found.exit_code == 0, found.output
    text = document.read_text()
    assert f"| b | 3 classes | 60 | 90.00% | 91.00% | -1.00 | 2.0% | 0.2 | {one.chosen.split()[0]} 1 |" in text
    assert "one is more than 0.5 points below 0, the lowest -1.00. some processor, 2 cores, torch 2.11." in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert (tmp_path / "heads.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(("held", "inside"), [(1000, False), (900, True), (700, False)])
def test_a_draw_is_within_the_interval_of_its_number_of_rows(held: int, inside: bool) -> None:
    turn = {"tested": 1000, "covered": {"90%": held}}
    assert heads_table._within(turn, 500, "90%") is inside
