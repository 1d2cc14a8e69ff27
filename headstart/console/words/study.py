"""What is said of a study: what is still to do and how long it takes, and the steps that are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.console.progress import clock
from headstart.console.words.extraction import download, download_json

if TYPE_CHECKING:
    from headstart.observer import Answers, ModelPlan
    from headstart.study.plan import Outlook


def model_plan(found: ModelPlan) -> str:
    """A line for each split, each recipe, and the inference of one model."""
    plan, lines = found.plan, []
    for title, rows in plan.missing.items():
        known = rows and plan.images_per_s
        spent = f", about {clock(plan.spent(rows))} at {plan.images_per_s:.1f} images/s" if known else ""
        lines.append(f"{title}: {rows:,} images to extract{spent}")
    for recipe in found.recipes:
        seconds = plan.heads_s.get(recipe)
        spent = "" if seconds is None else f"{found.seeds} seeds and curves to train, about {clock(seconds)}"
        lines.append(f"{plan.model}: {recipe} recipe, {spent or 'questions already answered'}")
    spent = f", about {clock(plan.spent(plan.timed))}" if plan.images_per_s else ""
    which = "" if found.split == "all" else f"{found.split} "
    images = f"{plan.timed:,} {which}images to time inference on, all recipes together{spent}"
    return "\n".join([*lines, f"{plan.model}: {images if plan.timed else 'inference already timed'}"])


def outlook(found: Outlook) -> str:
    """What would be downloaded, and how long the rest takes, as far as that is known before."""
    lines = [*map(download, found.downloads)]
    if found.waiting:
        lines.append(f"{', '.join(found.waiting)}: what is there and how long it takes is known once that is here")
    if found.plans:
        rest = "for the others" if found.waiting else "in all"
        lines.append(f"about {clock(found.total_s)} {rest}, without the BatchNorm experiment and outside pictures")
    return "\n".join(lines)


def outlook_json(found: Outlook) -> dict[str, Any]:
    """The same as JSON values; `total_s` is null where a model waits for a download."""
    total = None if found.waiting else found.total_s
    facts = {"models": [one.to_json() for one in found.plans], "total_s": total}
    return {**facts, **({"downloads": [download_json(one) for one in found.downloads]} if found.downloads else {})}


def answered(answers: Answers) -> str:
    """That a run's questions are answered, and in which time."""
    if answers.elapsed_s is None:
        return f"{answers.run.title}: questions already answered"
    return f"{answers.run.title}: questions answered in {clock(answers.elapsed_s)}"
