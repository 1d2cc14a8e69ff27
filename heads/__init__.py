"""(N, D) features and labels: heads, training, evaluation, checkpoints, the report. Knows no images and no backbones."""
