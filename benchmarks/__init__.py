"""Benchmarks: the pipeline beside the bare-socket floor, measured in the same run."""
