"""Benchmark: predict first (predict.py -> files), score second (score.py -> numbers), then tables (report.py)."""
