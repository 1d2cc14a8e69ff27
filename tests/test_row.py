"""A row holds what the records of its runs say."""

import dataclasses
import re

import pytest
from heads_samples import make_key, make_run
from report_samples import BENCH, cells, line_of, make_report, seeds

from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.report.json_file import to_json
from headstart.core.heads.report.markdown.document import to_markdown
from headstart.core.heads.report.row import Inference
from headstart.core.heads.report.units import seconds
from headstart.core.heads.runs import Extraction


def test_a_row_holds_what_the_run_and_its_bench_say() -> None:
    found = line_of(make_run(), timing=BENCH)
    assert (found.model, found.settings, found.head, found.dataset) == ("resnet50", "study", "mlp", "pets")
    assert (found.train_rows, found.test_rows, found.training_s) == (100, 300, 0.42)
    assert (found.accuracy, found.inference) == (0.8, Inference(200, 12.345))
    assert found.weights == "IMAGENET1K_V1 0a1b2c3d"


def test_a_training_time_shared_by_several_heads_is_said_to_be() -> None:
    found = line_of(make_run(together=5), timing=BENCH)
    assert found.together == 5
    markdown = to_markdown(make_report(line_of(make_run(), timing=BENCH), found))
    training = [line[3] for line in cells(markdown, "resnet50 (study)")][:2]
    assert training == [seconds(0.42), f"{seconds(0.42)} for 5 heads"]


def test_seeds_are_one_line_with_their_mean() -> None:
    found = line_of(*seeds(70, 80, 90))
    assert (found.seeds, found.runs, found.run) == ((0, 1, 2), ("seed-0", "seed-1", "seed-2"), "seed-0")
    assert found.accuracies == (0.7, 0.8, 0.9)
    assert found.accuracy == pytest.approx(0.8)
    assert found.deviation == pytest.approx(0.1)
    assert found.interval[0] < 0.8 < found.interval[1]
    (text,) = [line[1] for line in cells(to_markdown(make_report(found)), "resnet50 (study)")][:1]
    assert re.fullmatch(r"80\.00 % \(7.*\), mean of 3 seeds", text)


def test_only_cifar10_under_the_studys_own_recipe_stands_beside_the_published_figures() -> None:
    run = make_run(key=make_key(dataset="cifar10"))
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, epochs=60))
    assert [line_of(found).published for found in (run, changed, make_run())] == [True, False, False]
    assert "The published study" in to_markdown(make_report(line_of(run), line_of(changed)))
    own = to_markdown(make_report(line_of(changed)))
    assert "published" not in own
    assert cells(own, "resnet50 (study, changed: epochs 60)")
    assert to_json(make_report(line_of(changed)))["sections"][0]["published"] is None


@dataclasses.dataclass(frozen=True)
class Share:
    """Rows extracted in so many seconds, rows trained and validated on, and the seconds these took."""

    rows: int
    elapsed_s: float | None
    used: tuple[int, int]
    share: float | None

    def __str__(self) -> str:
        return f"{self.used} of {self.rows}"


@pytest.mark.parametrize(
    "case",
    [
        Share(200, 50.0, (90, 10), 25.0),
        Share(100, 50.0, (90, 10), 50.0),
        Share(100, 50.0, (60, 0), 30.0),
        Share(90, 50.0, (90, 10), 50.0),
        Share(200, None, (90, 10), None),
    ],
    ids=str,
)
def test_extraction_counts_for_the_rows_that_were_used(case: Share) -> None:
    extraction = Extraction("folder", "aa" * 32, case.rows, case.elapsed_s)
    found = line_of(make_run(train=extraction, train_rows=case.used[0], val_rows=case.used[1]))
    assert found.extraction_s == case.share


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RECIPES["study"], True),
        (dataclasses.replace(RECIPES["study"], head="linear"), True),
        (dataclasses.replace(RECIPES["study"], sigmoid=False), False),
        (dataclasses.replace(RECIPES["study"], head="knn"), False),
        (dataclasses.replace(RECIPES["study"], head="ridge"), False),
        (RECIPES["standard"], False),
        (dataclasses.replace(RECIPES["standard"], head="mlp", sigmoid=True), True),
    ],
)
def test_a_row_knows_whether_its_head_has_the_sigmoid(config: TrainConfig, expected: bool) -> None:
    assert line_of(make_run(config=config)).sigmoid is expected
