"""What is computed from labels and probabilities: intervals, tests, calibration, counts, maps."""
