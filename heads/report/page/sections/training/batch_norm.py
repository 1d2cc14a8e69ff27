"""What BatchNorm left in training mode costs."""

from headstart.core.heads.report.page.html import Html, count, mean_of, name, paragraph, section, share, table
from headstart.core.heads.report.page.view import Part, View


def _batch_norm(view: View) -> Html:
    it = view.section.batch_norm
    if it is None:
        return Html("")
    lead = (
        "Parameters that need no gradient do not freeze BatchNorm: in training mode it goes on normalising by the batch "
        f"and moving its running statistics{', as in the published code' if view.section.published else ''}. Features kept "
        "from eval() cannot have this fault; it was imitated on a small subset."
    )
    body = [
        [name(mode), mean_of(values), count(len(values)), ", ".join(map(share, values))]
        for mode, values in (("eval()", it.accuracy_eval), ("train()", it.accuracy_train))
    ]
    caption = (
        f"{it.model}, {count(it.train_images)} training and {count(it.test_images)} test images: "
        f"test accuracy (lowest to highest seed)"
    )
    return section(
        view, "batch-norm", "What BatchNorm in training mode costs", paragraph(lead),
        table(caption, ["backbone in", "mean", "seeds", "each seed"], body), paragraph(it.note, "made"),
    )  # fmt: skip


PART = Part("batch-norm", "BatchNorm", _batch_norm, study_place=120, own_place=170)
