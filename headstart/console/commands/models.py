"""`headstart models`: the backbones there are. What computes is imported inside the commands, so that help is instant."""

from __future__ import annotations

import dataclasses

import click

from headstart.console import options, words
from headstart.console.group import Section
from headstart.console.options import POSITIVE, Settings, command
from headstart.console.printing import document, out


@click.group(cls=Section, otherwise="ls", epilog="Example: headstart models 'timm/*dinov2*'")
def models() -> None:
    """The backbones, or those that match a PATTERN: features, parameters, operations, weights and their licences."""


@command(models, "ls", "headstart models 'timm/convnext*'", hidden=options.NO_SETS)
@click.argument("pattern", required=False)
def list_models_command(settings: Settings, pattern: str | None) -> None:
    """Some backbones, or all whose names match a shell's pattern or have it in them."""
    from headstart.backbones.listing import listing

    out(words.backbones.listing(found := listing(pattern)))
    document(settings, dataclasses.asdict(found))


@command(models, "show", "headstart models show resnet50", hidden=options.NO_SETS)
@click.argument("name")
@click.option("--image-size", type=POSITIVE, help="Pixels, squared. [default: the backbone's own]")
def show_model_command(settings: Settings, name: str, image_size: int | None) -> None:
    """The layers of a backbone: output shape, parameters, operations for one image; its transform and its licences."""
    from headstart.backbones.showing import show

    out(words.backbones.layers(found := show(name, image_size)))
    document(settings, words.backbones.layers_json(found))
