"""A model card: what a trained head is, what it learned from, how well it does and what it can't, as Markdown.

All of it is taken from the run record and the head's file. What they do not say is called not known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.export.card.about import data, introduction, protocol
from headstart.export.card.figures import calibration, classes, measures, mistakes
from headstart.export.card.front_matter import front_matter
from headstart.export.card.text import code, plain
from headstart.export.card.use import licences, limits, usage

if TYPE_CHECKING:
    from headstart.inference.trained import TrainedHead


def model_card(
    head: TrainedHead,
    files: Sequence[str] | Mapping[str, str] = (),
    resized: Collection[str] = (),
    said: Sequence[str] = (),
) -> str:
    """The card of a head, with the Hugging Face Hub's front matter; `files` are the names of what was exported of it, or
    these with their SHA-256s, and the card says how to run them; those `resized` take pictures of the backbone's size.
    `said` is what must be said of the files. Names from outside are escaped and stay on their lines."""
    key = head.checkpoint.key
    sections = {
        "Data": data(head),
        "Protocol": protocol(head),
        "Measures": measures(head),
        "Classes": classes(head),
        "Mistakes": mistakes(head),
        "Calibration": calibration(head),
        "Known limits": limits(head, said),
        "Licences": licences(head),
        "How to run it": usage(head, files if isinstance(files, Mapping) else dict.fromkeys(files, ""), resized),
    }
    heading = f"# {plain(key.backbone)} and {head.checkpoint.head.kind}, trained on {code(key.dataset)}"
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{front_matter(head.checkpoint, head.run)}\n{heading}\n\n{introduction(head)}\n\n{body}\n"
