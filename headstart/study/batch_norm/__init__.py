"""What BatchNorm left in training mode costs: the published study's loop imitated on a few images, beside the right one.

The study set `requires_grad=False` and called `model.train()`. That leaves every BatchNorm layer normalising by the batch
and updating its running statistics; the test then used the drifted statistics in `eval()`. Cached features can't have this
fault, so the backbone runs here over every batch of every epoch, as it did there.
"""
