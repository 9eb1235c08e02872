#!/bin/sh
# wheel.sh: build sdist and wheel, install the wheel in an empty environment, and run the quick tests against it from
# a folder where the sources cannot be imported.
set -eu
checkout="$PWD"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

.venv/bin/python -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ls -l "$work/dist"
.venv/bin/python -m venv "$work/venv"
wheel="$(ls "$work"/dist/*.whl)"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel[test]"
mkdir "$work/run"
cp -R tests pyproject.toml "$work/run/"
cd "$work/run"
unset PYTHONPATH
# -P keeps the folder out of sys.path: nervure is what was installed, or nothing
NERVURE_DIST="$work/dist" NERVURE_CHECKOUT="$checkout" "$work/venv/bin/python" -P -m pytest -q -n 2 \
    -p no:cacheprovider -m "wheel or not (long or torch)" \
    tests/packaging/test_wheel.py tests/packaging/test_import_guard.py tests/packaging/test_import_time.py \
    tests/packaging/test_public_names.py tests/ir tests/frontend tests/passes tests/llvm/test_text.py
