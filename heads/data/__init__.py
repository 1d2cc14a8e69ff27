"""Rows for heads: which feature sets belong together, their rows checked, divided and drawn. Knows no torch."""

from headstart.core.heads.data.groups import joined
from headstart.core.heads.data.labelled import Labelled, counted
from headstart.core.heads.data.loading import Parts, check_names, first, held_out, load, testing, whole
from headstart.core.heads.data.selection import (
    Pair,
    check_choice,
    choose,
    dataset_words,
    pair,
    pairs,
    passed_over,
    with_kept_views,
)
from headstart.core.heads.data.validation import kept_beside
from headstart.core.heads.data.views import unused, with_views

__all__ = [
    "Labelled",
    "Pair",
    "Parts",
    "check_choice",
    "check_names",
    "choose",
    "counted",
    "dataset_words",
    "first",
    "held_out",
    "joined",
    "kept_beside",
    "load",
    "pair",
    "pairs",
    "passed_over",
    "testing",
    "unused",
    "whole",
    "with_kept_views",
    "with_views",
]
