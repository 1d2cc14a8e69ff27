"""What sources of backbones share: networks cut before their last linear layer by tracing them, and tables of names."""
