"""`headstart export`: a trained head with its backbone as one file, and such a file checked. What computes is imported
inside the command, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headstart.console import options, words
from headstart.console.options import Settings, command, shown
from headstart.console.printing import document, note, out, terminal
from headstart.console.training_options import corrections_option
from headstart.requests import EXPORT_PRECISIONS, INPUTS, CheckRequest, ExportRequest, InferenceOptions

ALONE = (".onnx", ".pt2")
"""The suffixes that no head has: a file that ends so is the one to be written, where it comes first."""


def register(group: click.Group) -> None:
    """Add the command to a group."""

    @command(group, "export", "headstart export runs/pets pets/model.onnx holiday/*.jpg", hidden=("features_dir",))
    @click.argument("names", nargs=-1, metavar="[RUN] FILE [PICTURES]...")
    @click.option("--check", is_flag=True, help="Run FILE again: on its test pictures, and on PICTURES beside predict.")
    @shown(
        "--input",
        type=click.Choice(INPUTS),
        default=ExportRequest.input,
        help="What FILE takes, uint8 RGB. pixels: pictures of any size, resized in it. resized: of the backbone's size.",
    )
    @shown("--precision", type=click.Choice(EXPORT_PRECISIONS), default=ExportRequest.precision, help="Of the backbone.")
    @click.option("--embed", is_flag=True, help="Put small copies of the first PICTURES into FILE as its test pictures.")
    @click.option("--dataset", help="Where accuracy and agreement are measured. [default: the head's own]")
    @corrections_option
    @shown("--limit", type=click.IntRange(min=0), default=ExportRequest.limit, help="On so many test images; 0 for none.")
    @click.option("--no-card", is_flag=True, help="Write no model-card.md beside FILE.")
    @click.option("--digest", metavar="DIGEST", help="With --check of a .pt2 file: the SHA-256 that it must have.")
    @options.recorded_weights_option
    def export_command(settings: Settings, names: tuple[str, ...], check: bool, digest: str | None, **given: Any) -> None:
        """A trained head and its backbone as one FILE that runs without headstart: .onnx, .pt2 or .safetensors.

        Pixels become calibrated probabilities in one graph. It is run on test pictures, which it carries with it, and on
        PICTURES before it is written: where it does not give what predict gives, nothing is. RUN is a run's folder, its
        head.safetensors or its name; without one it is the newest run.
        """
        if not names:
            raise click.UsageError("FILE is missing, such as model.onnx.")
        if check:
            _refuse_unused(given)
            _check(settings, CheckRequest(Path(names[0]), names[1:], digest, given["weights"]))
            return
        if digest is not None:
            raise click.UsageError("--digest is for --check.")
        if _is_file(*names[:2]):
            names = ("", *names)
        if len(names) < 2:
            raise click.UsageError(f"{names[0]}: FILE is missing, such as model.onnx.")
        card = not given.pop("no_card")
        _export(settings, names[0], ExportRequest(Path(names[1]), names[2:], card=card, **given))


def _is_file(first: str, second: str = "") -> bool:
    """Whether the first of the names is the file to be written, and no run: by their suffixes, since a head may be called
    head.safetensors as well, but then a file to be written comes behind it."""
    kinds = [Path(name).suffix.lower() for name in (first, second)]
    return kinds[0] in ALONE or (kinds[0] == ".safetensors" and kinds[1] not in (*ALONE, ".safetensors"))


def _refuse_unused(given: dict[str, Any]) -> None:
    """Refuse options that say how a file is made. Raises click.UsageError."""
    context = click.get_current_context()
    for name in given:
        source = context.get_parameter_source(name)
        if name != "weights" and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} does nothing with --check.")


def _export(settings: Settings, run: str, request: ExportRequest) -> None:
    from headstart.export.exporting import export
    from headstart.inference.trained import called, choose

    observer = terminal(settings)
    options_of = InferenceOptions(request.weights)
    (head,) = choose(settings, called(settings, [run] if run else []), options_of, observer)
    found = export(settings, head, request, observer)
    out(words.exporting.exported(found))
    for text in words.exporting.remarks(found):
        note(f"note: {text}")
    document(settings, words.exporting.exported_json(found))


def _check(settings: Settings, request: CheckRequest) -> None:
    from headstart.export.checking import check

    found = check(settings, request, terminal(settings))
    out(words.exporting.proven(found))
    document(settings, words.exporting.proven_json(found))
