"""nervure beside every CPU runtime that installs: ``make bench``, ``python -m benchmarks --help``."""
