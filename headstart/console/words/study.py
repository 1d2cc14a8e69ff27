"""What is said of a study: what is still to do and how long it takes, and the steps that are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.console.progress import clock

if TYPE_CHECKING:
    from headstart.observer import Answers, ModelPlan


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
    images = f"{plan.timed:,} {found.split} images to time inference on, all recipes together{spent}"
    return "\n".join([*lines, f"{plan.model}: {images if plan.timed else 'inference already timed'}"])


def answered(answers: Answers) -> str:
    """That a run's questions are answered, and in which time."""
    if answers.elapsed_s is None:
        return f"{answers.run.title}: questions already answered"
    return f"{answers.run.title}: questions answered in {clock(answers.elapsed_s)}"
