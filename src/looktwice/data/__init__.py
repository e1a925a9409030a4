"""Data: made parts, and one file per data set."""
