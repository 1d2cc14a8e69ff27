"""Pictures kept with their answers, where the user asked for that: by content, and never half-written."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headstart.core.cache.files import make_folder, pretty_json, write_durably
from headstart.serve.engine.asked import Picture

LOG = logging.getLogger("headstart.serve")

_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_ENDINGS |= {"PPM": ".ppm", "JPEG2000": ".jp2", "AVIF": ".avif", "HEIF": ".heic"}


class NotKept(Exception):
    """A picture could not be written; its request must not be answered as if it had been."""


class Keeper:
    """Writes pictures that were labelled to `folder`, as their SHA-256, and beside each the last answer to it as JSON.

    One thread writes, after which the request is answered. Raises OSError where the folder can't be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "can't be written to", str(folder))
        self._writer = ThreadPoolExecutor(1, "keep")

    async def keep(self, pictures: Sequence[Picture], answers: Sequence[Mapping[str, Any]]) -> None:
        """Write those that have answers. Raises NotKept."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, pictures, answers)

    def _write(self, pictures: Sequence[Picture], answers: Sequence[Mapping[str, Any]]) -> None:
        try:
            for picture, answer in zip(pictures, answers, strict=True):
                if picture.error is None:
                    self._write_one(picture, answer)
        except OSError as error:
            LOG.error("a picture could not be kept: %s", error)
            raise NotKept from error

    def _write_one(self, picture: Picture, answer: Mapping[str, Any]) -> None:
        place = self._folder / (picture.sha256 + _ENDINGS.get(picture.format, ""))
        if not place.exists():
            write_durably(place, picture.content)
        write_durably(self._folder / f"{picture.sha256}.json", pretty_json(answer))

    def close(self) -> None:
        """End the thread once all is written."""
        self._writer.shutdown()
