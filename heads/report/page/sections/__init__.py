"""The parts of a section's page, a file for each: every module below here declares its own as `PART`.

A part is added by a file in one of the folders; nothing else lists them.
"""

import importlib
import pkgutil

from headstart.core.heads.report.page.view import Part


def parts(*, beside_study: bool) -> list[Part]:
    """All parts in their order: that beside the published study's figures, or that for anybody's own pictures."""
    modules = [found.name for found in pkgutil.walk_packages(__path__, f"{__name__}.") if not found.ispkg]
    found: list[Part] = [importlib.import_module(name).PART for name in modules]
    placed = [(part.study_place if beside_study else part.own_place, part) for part in found]
    return [part for _, part in sorted(((at, part) for at, part in placed if at is not None), key=lambda it: it[0])]
