"""What may be wrong with a data set, by its features and labels: duplicates, wrong labels, outliers, sources."""
