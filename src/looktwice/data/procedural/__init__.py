"""Made data: parts drawn from a seed, with exact truth."""
