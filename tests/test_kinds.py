"""The heads by name: every one that is offered exists."""

import pytest
from heads_samples import one_thread as one_thread
from heads_samples import trained_head

from headstart.core.heads.config import HEADS, TrainConfig
from headstart.core.heads.kinds import NAMES
from headstart.core.heads.kinds import kind as kind_of
from headstart.core.heads.kinds.base import Head


def test_every_head_that_is_offered_exists() -> None:
    assert NAMES[0] == TrainConfig.head
    assert ("auto", *NAMES) == HEADS
    for name in NAMES:
        assert issubclass(kind_of(name), Head)
        assert trained_head(name).kind == name


@pytest.mark.parametrize("name", ["base", "svd", "../knn"])
def test_what_is_no_head_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{name}' is no head; expected mlp, "):
        kind_of(name)
