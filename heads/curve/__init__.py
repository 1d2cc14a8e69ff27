"""The few-shot curve: accuracy against the number of training rows, and what more of them would bring."""
