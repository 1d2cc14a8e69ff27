"""Messages with arguments instead of options."""

import pytest

from headstart.api.spoken import in_python, spoken
from headstart.core.cache.errors import DataNotFound


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("x; --on-error skip leaves such images out", "x; on_error='skip' leaves such images out"),
        ("--force computes the set anew, another --features-dir keeps both", "force=True computes the set anew, another "
         "features_dir keeps both"),
        ("--device cuda:9: none found; use --device auto", "device='cuda:9': none found; use device='auto'"),
        ("use `headstart extract --limit 3`; or ask for less with --limit", "use `headstart extract --limit 3`; or ask for "
         "less with limit"),
        ("20 rows can't be divided, or use --test-fraction 0.2", "20 rows can't be divided, or use test_fraction=0.2"),
        ("--executor local needs none; --num says how many", "executor='local' needs none; num says how many"),
        ("fp32 is used; --precision says another", "fp32 is used; precision says another"),
    ],
)  # fmt: skip
def test_options_become_arguments_and_commands_stay(said: str, expected: str) -> None:
    assert in_python(said) == expected


def test_an_error_keeps_its_class_and_is_said_again() -> None:
    @spoken
    def fail() -> None:
        raise DataNotFound("--dataset digits: not there")

    with pytest.raises(DataNotFound, match=r"^dataset='digits': not there$"):
        fail()
