"""Reports: files people look at, written from results; no report runs a model."""
