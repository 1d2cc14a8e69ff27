"""Rows for heads: which feature sets belong together, their rows checked, divided and drawn. Knows no torch."""

from headstart.core.heads.data.labelled import Labelled, counted
from headstart.core.heads.data.loading import held_out, load, testing
from headstart.core.heads.data.selection import Pair, choose, pairs

__all__ = ["Labelled", "Pair", "choose", "counted", "held_out", "load", "pairs", "testing"]
