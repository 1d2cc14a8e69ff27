"""Which backbone for these pictures: a sample of the training rows through each, and heads judged on that alone."""
