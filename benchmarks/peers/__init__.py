"""Contestants: a small file each, `build(case, threads)` in it."""
