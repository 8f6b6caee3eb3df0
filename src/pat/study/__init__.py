"""The reproducibility study built on `pat`: specs, runs, records, analysis, notebooks, book."""
