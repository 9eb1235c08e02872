#!/bin/sh
# peers.sh: install the runtimes that the benchmark compares with, each on its own, so that one that has no wheel here
# leaves the others; the benchmark reports what is missing.
set -u
for peer in MNN ncnn openvino jax executorch; do
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$peer" >/dev/null 2>&1 ||
        echo "no $peer here; its column stays empty"
done
