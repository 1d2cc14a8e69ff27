"""How much of the torture a run gets, and the way to the helpers of `tests`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Share = Callable[[int, int], int]


@pytest.fixture(scope="session")
def share() -> Share:
    """Chooses between the full count and a part: HEADSTART_TORTURE=all asks for the first, unset for the second."""
    asked = os.environ.get("HEADSTART_TORTURE", "")
    if asked not in ("", "all"):  # a typing error must not pass for the whole torture
        raise pytest.UsageError(f"HEADSTART_TORTURE is {asked!r}, expected 'all' or nothing")
    return lambda full, part: full if asked == "all" else part
