"""What is said of timed inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.core.cache.text import megabytes

if TYPE_CHECKING:
    from headstart.core.heads.timings import Timing


def timing(title: str, found: Timing, notes: Sequence[str], leaks: str | None = None) -> str:
    """How fast a head labels raw images, on what, and with which accuracy; `leaks` is what is known of its own test, where
    the images are those."""
    waits = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in found.latency_s.items())
    total = sum(found.stages_s.values())
    stages = ", ".join(f"{name} {1000 * value:.3f} ms ({value / total:.0%})" for name, value in found.stages_s.items())
    accuracy = "" if found.accuracy is None else f"accuracy {found.accuracy:.2%}, "
    passes = f"in batches of {found.way.batch_size}, median of {found.repeats}"
    speed = f"{found.elapsed_s:.2f} s, {found.images_per_s:.1f} images/s"
    part = "" if found.images == found.split_rows else f" of {found.split_rows:,}"
    return "\n".join(
        [
            f"{title} on {found.way.device}, {found.way.precision}, {found.way.engine}",
            f"  {found.images:,}{part} {found.dataset} {found.split} images in {speed} ({passes})",
            f"  one image: {waits} ({found.latency_images} images)",
            f"  per image in batches, each stage by itself: {stages}",
            *_apart(total, found),
            f"  {accuracy}peak memory {megabytes(found.peak_memory_bytes)}",
            *([] if leaks is None or found.accuracy is None else [f"  of its own test: {leaks}"]),
            *(f"  note: {text}" for text in notes),
        ]
    )


def _apart(total_s: float, found: Timing) -> list[str]:
    """What to say where the stages by themselves take longer than an image takes in all."""
    each_s = found.elapsed_s / found.images if found.images else 0.0
    if total_s <= 1.1 * each_s:
        return []
    return [
        f"  (together {1000 * total_s:.1f} ms, but {1000 * each_s:.1f} ms an image with all at once: stages overlap there, "
        "which the times of each by itself do not show)"
    ]
