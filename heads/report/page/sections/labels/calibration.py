"""Whether the probabilities can be trusted: whether 90 % means 90 %."""

from headstart.core.heads.report.page.figures.reliability import reliability
from headstart.core.heads.report.page.html import NOT_KNOWN, Html, count, figure, grid, listed, paragraph, section, table
from headstart.core.heads.report.page.view import Part, View
from headstart.core.heads.report.page.words import named, settings_words
from headstart.core.heads.study.results import TemperatureResults

MOST_FIGURES = 12
"""Heads that have a figure of their own."""


def _calibration(view: View) -> Html:
    body, drawn, reasons, of = [], [], [], dict[str, None]()
    for i, (head, analyses) in enumerate(view.analysed()):
        it, words = analyses.calibration, f"{head.model}, {settings_words(head.settings)}"
        body.append([named(head.model, head.settings), *_numbers(it)])
        reasons += [f"{words}: no temperature was fitted, {it.not_fitted}."] if it.not_fitted else []
        of[it.fitted_with] = None
        art = reliability(view.key(f"reliability-{i}"), words, it) if i < MOST_FIGURES else ""
        drawn += [figure(Html(art), f"{words}: on the dotted line confidence is right.")] if art else []
    if not body:
        return Html("")
    head_line = [
        "head", "calibration error", "after temperature", "negative log-likelihood (nats)", "after temperature",
        "temperature",
    ]  # fmt: skip
    lead = (
        "A head is calibrated when, of the labels it gives with 90 % confidence, 90 % are right. One number, the "
        "temperature, is fitted on rows set aside from training and divides all scores; it changes no label."
    )
    caption = "Expected calibration error (0 is perfect) and negative log-likelihood on the test rows"
    fitted = f"Temperatures were fitted with {'; '.join(of)}."
    return section(
        view, "calibration", "Can the probabilities be trusted?", paragraph(lead), table(caption, head_line, body),
        paragraph(fitted), listed(reasons, "plain"), grid(drawn, "small"), paragraph(_left_out(len(body))),
    )  # fmt: skip


def _left_out(heads: int) -> str:
    return f"The figures of the first {MOST_FIGURES} of {count(heads)} heads are drawn." if heads > MOST_FIGURES else ""


def _numbers(it: TemperatureResults) -> list[str]:
    before, after, value = it.before, it.after, it.temperature.value
    missing = "not fitted" if value is None else NOT_KNOWN
    return [
        f"{before.ece:.4f}",
        f"{after.ece:.4f}" if after else missing,
        f"{before.nll:.4f}",
        f"{after.nll:.4f}" if after else missing,
        f"{value:.3f}" if value is not None else missing,
    ]


PART = Part("calibration", "Calibration", _calibration, study_place=130, own_place=140)
