"""An exported file held against `predict`: on pictures, and on the rows of a data set."""
