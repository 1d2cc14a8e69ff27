"""What a card says to whoever wants to use the model: its limits, the licences, and how to run it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from headstart.core.extract.weights.licences import caution
from headstart.core.heads.audit.leaks import apart
from headstart.core.heads.predict import caveat
from headstart.core.heads.report.markdown.text import table
from headstart.core.heads.report.units import percent
from headstart.core.heads.sessions.place import UNTRAINED
from headstart.export.card import lines
from headstart.export.card.about import UNRECORDED
from headstart.export.card.figures import FEW
from headstart.export.card.front_matter import of_weights
from headstart.export.card.text import code, plain

if TYPE_CHECKING:
    from headstart.core.heads.runs import Run
    from headstart.inference.trained import TrainedHead

MOST_NAMES = 20
"""Classes without a training image that are named."""


def limits(head: TrainedHead, more: Sequence[str] = ()) -> str:
    """What must be said beside every figure, in the words of the run record and in `more`, and what follows from it."""
    checkpoint, run = head.checkpoint, head.run
    said = [UNTRAINED] if checkpoint.key.untrained else []
    said += [*run.notes, *_twins(run), *_few(run)] if run is not None else []
    said += [*more, *(text for text in (caveat(checkpoint),) if text)]
    notes = [plain(text) for text in dict.fromkeys(said)]
    notes += [f"How well it does is not known. {UNRECORDED}"] if run is None else []
    notes += [_never(absent)] if (absent := [checkpoint.classes[i] for i in checkpoint.head.absent]) else []
    notes += [f"Every picture gets one of these {len(checkpoint.classes):,} classes, also one that shows none of them."]
    return "\n".join(f"- Note: {note}" for note in notes)


def _never(absent: Sequence[str]) -> str:
    more = f" and {len(absent) - MOST_NAMES:,} more" if len(absent) > MOST_NAMES else ""
    return f"Never given, since no training image was of them: {', '.join(map(code, absent[:MOST_NAMES]))}{more}."


def _twins(run: Run) -> list[str]:
    """The accuracy without test pictures that have a twin in training, where some are known to have one."""
    found = apart([run.without_twins], run.evaluation.overall.total, chosen=run.val is not None)
    return [found.sentence(percent)] if found is not None else []


def _few(run: Run) -> list[str]:
    """What few rows of a class mean for what is said of it."""
    counts = [score.total for score in run.evaluation.per_class.values()]
    few = sum(count < FEW for count in counts)
    if not few:
        return []
    words = "all classes were" if few == len(counts) > 1 else f"{few:,} of {len(counts):,} classes were"
    return [f"{words} tested on fewer than {FEW} images, one of them on {min(counts)}: read the intervals of each class"]


def licences(head: TrainedHead) -> str:
    """Under which licence the weights are; that of the head is its maker's to say."""
    found = of_weights(head.checkpoint)
    said = [f"Weights of the backbone: {plain(found) if found else 'not recorded; ask whoever published them'}."]
    if found and found != "unknown" and (warning := caution(found)) is not None:
        said += [f"Of these weights: {plain(warning)}."]
    said += ["Head and training pictures: none was recorded; whoever publishes this model says it."]
    return "\n\n".join(said)


def usage(head: TrainedHead, files: Mapping[str, str], resized: Collection[str] = ()) -> str:
    """How to run the files of the model, each by its name with its SHA-256, and the head where it was trained; those
    `resized` take pictures of the backbone's size."""
    names = {PurePath(name).name: digest for name, digest in files.items()}
    commands = [command for name, digest in names.items() if (command := _check(name, digest))]
    commands += [] if head.run is None else [f"headstart predict --head {_word(f'runs/{head.run.name}')} PICTURE"]
    found = [
        table(
            ("file", "SHA-256"),
            [(code(name), code(digest) if digest else "not recorded") for name, digest in names.items()],
        )
    ]
    found = found if names else []
    if commands:
        lead = "A file is run again on the test pictures in it, and a picture is labelled by the head it was made of:"
        found += [lead, "```console\n" + "\n".join(f"$ {command}" for command in commands) + "\n```"]
    for name in names:
        found += _of_size(name) if name in resized else _without_us(head, name)
    return "\n\n".join(found) or "No file of the model was written with this card."


def _of_size(name: str) -> list[str]:
    """What to do for a file that does not resize."""
    return [f"{code(name)} takes pictures of the size that its metadata say, resized as they say; docs/export.md says how."]


def _check(name: str, digest: str) -> str:
    """The command that runs a file again; nothing for one that has no test pictures."""
    if name.lower().endswith(".pt2"):  # it could run any code, so that only the very file is loaded
        return f"headstart export --check {_word(name)} --digest {digest or 'DIGEST'}"
    return f"headstart export --check {_word(name)}" if name.lower().endswith(".onnx") else ""


def _without_us(head: TrainedHead, name: str) -> list[str]:
    """The program that runs a file without headstart."""
    suffix = PurePath(name).suffix.lower()
    program = lines.tensors(head.checkpoint, name) if suffix == ".safetensors" else lines.onnx(name)
    if suffix not in (".safetensors", ".onnx"):
        return []
    if program is None:
        return [f"{code(name)} without headstart takes more lines than a card has for this backbone, pooling or transform."]
    return [f"{code(name)} without headstart, for the picture that is its argument:", f"```python\n{program}```"]


def _word(name: str) -> str:
    """A file's name as a shell takes it; one that looks like an option gets its folder, and what can't be shown is spelled
    by its bytes (https://www.gnu.org/software/bash/manual/html_node/ANSI_002dC-Quoting.html)."""
    name = f"./{name}" if name.startswith("-") else name
    return shlex.quote(name) if name.isprintable() else f"$'{''.join(map(_spelled, name))}'"


def _spelled(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character.isprintable():
        return character
    whole = "surrogateescape" if 0xDC80 <= ord(character) <= 0xDCFF else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", whole))
