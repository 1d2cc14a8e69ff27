"""What an audit leaves beside its CSV: its totals, for accuracies and reports, and a map of the pictures."""
