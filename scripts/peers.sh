#!/bin/sh
# peers.sh: install the runtimes that the benchmark compares with, each on its own, so that one that has no wheel here
# leaves the others; the benchmark reports what is missing. The version of torch is the one of the extra [bench].
set -u
for peer in MNN ncnn openvino jax executorch; do
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$peer" "torch==2.13.0" >/dev/null 2>&1 ||
        echo "no $peer here; its column stays empty"
done
