"""svm: a linear support vector machine, by scikit-learn."""

import numpy as np
import torch

from headstart.core.heads.kinds.base import PenalisedHead, Rows


class Svm(PenalisedHead):
    """scikit-learn's LinearSVC of C = 1 / penalty: each class against all others, squared hinge loss, liblinear's Newton
    method on the coefficients themselves, which ends at 1e-4 of the first gradient and needs few steps for any penalty.

    The intercept is penalised as a coefficient of a feature that is always 1. Of two classes the scores are the margin's
    halves, with opposite signs.
    """

    uses = frozenset({"penalty", "class_weight"})
    rank = 4
    costly_end = True
    caveat = "an svm head's scores are margins, not log-odds: its probabilities rank rightly, but are not to be believed"
    penalties = (1e4, 1e3, 1e2, 1e1, 1.0)
    penalty = 1e3
    """That of a configuration without one: C = 0.001, since standardised features of a backbone are many and large."""

    def fit(self, rows: Rows) -> None:
        from sklearn.svm import LinearSVC

        labels = rows.labels.cpu().numpy()
        present = np.unique(labels)
        if len(present) < 2:
            return
        penalty = self.penalty if self.config.penalty is None else self.config.penalty
        machine = LinearSVC(C=1 / penalty, dual=False, max_iter=10_000, random_state=0)
        weights = None if rows.weights is None else rows.weights.cpu().numpy()
        machine.fit(rows.features.cpu().double().numpy(), labels, sample_weight=weights)
        coefficients, intercepts = machine.coef_, machine.intercept_
        if len(present) == 2:
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        places = torch.from_numpy(present)
        with torch.no_grad():
            self.out.weight[places] = torch.from_numpy(coefficients).to(self.out.weight)
            self.out.bias[places] = torch.from_numpy(intercepts).to(self.out.bias)
