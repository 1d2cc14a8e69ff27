"""What an audit leaves beside its CSV: its totals, for what is told of accuracies and in reports."""
