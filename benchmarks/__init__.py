"""One script per performance claim. Run from the root of the checkout: `python -m benchmarks.bench_startup`."""
