"""Which rows of features are most alike, found exactly."""
