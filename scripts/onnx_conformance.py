"""Runs the test suite of the installed onnx on nervure and writes docs/onnx-conformance.md.

python scripts/onnx_conformance.py                          # llvm and reference, all cases; writes the page
python scripts/onnx_conformance.py --backend llvm --only lstm --show    # a look at some; writes nothing
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import onnx  # noqa: E402
from onnx_suite import STATUSES, Case, Score, load_cases, run_cases  # noqa: E402
from onnx_tiers import tier_of  # noqa: E402

PAGE = ROOT / "docs" / "onnx-conformance.md"
Scores = dict[str, dict[str, Score]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--backend", action="append", help="llvm, reference or onnx; llvm and reference if not given"
    )
    parser.add_argument("--only", default="", help="a pattern of the names of cases")
    parser.add_argument(
        "--kind", action="append", help="node, simple, pytorch-converted, pytorch-operator, light"
    )
    parser.add_argument("--tier", type=int, help="cases of tiers up to this")
    parser.add_argument("--core", action="store_true", help="f32, f64, i32, i64 and bool alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--show", action="store_true", help="print what does not pass; write nothing")
    given = parser.parse_args()
    cases = load_cases(given.kind) if given.kind else load_cases()
    cases = [
        c
        for c in cases
        if re.search(given.only, c.name)
        and (given.tier is None or c.tier <= given.tier)
        and (c.is_core or not given.core)
    ]
    scores: Scores = {}
    for backend in given.backend or ["llvm", "reference"]:
        scores[backend] = run(cases, backend, given.jobs, given.timeout)
        show(cases, backend, scores[backend], given.show)
    if not given.show:
        PAGE.write_text(page(cases, scores), "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


def run(cases: list[Case], backend: str, jobs: int, timeout: float) -> dict[str, Score]:
    def make() -> object:
        from nervure.onnx_backend import NervureBackend

        return NervureBackend.using(backend)

    found: dict[str, Score] = {}
    for k, result in enumerate(run_cases(cases, make, jobs=jobs, timeout=timeout)):
        found[result.case] = result
        if sys.stderr.isatty():
            print(f"\r{backend}: {k + 1} of {len(cases)}", end="", file=sys.stderr)
    return found


def show(cases: list[Case], backend: str, scores: dict[str, Score], details: bool) -> None:
    """The counts, and each case that does not pass."""
    if details:
        for case in cases:
            score = scores[case.name]
            if score.status != "pass":
                text = " | ".join(line.strip() for line in score.message.splitlines())
                print(
                    f"{score.status:12} {case.tier} {'core ' if case.is_core else 'other'} {case.name}: {text[:300]}"
                )
    print(
        f"{backend}: {tally(scores[c.name] for c in cases)}, {sum(s.seconds for s in scores.values()):.0f} s"
    )


def tally(scores: object) -> str:
    count = Counter(s.status for s in scores)  # pyright: ignore[reportGeneralTypeIssues]
    total = sum(count.values())
    return f"{count['pass']} of {total} pass" + "".join(f", {count[s]} {s}" for s in STATUSES[1:] if count[s])


def page(cases: list[Case], scores: Scores) -> str:
    """The tables."""
    lines = [
        "# Conformance to ONNX",
        "",
        f"The test suite of onnx {onnx.__version__} (opset {onnx.defs.onnx_opset_version()}), each case in a process of its"
        " own, by `nervure.onnx_backend`. *Core* cases have f32, f64, i32, i64 and bool alone; *wrong* is a result that"
        " the suite does not accept, *unsupported* is an error that says so, *error* is any other. The tiers are those of"
        " `tests/onnx_tiers.py`. Written by `python scripts/onnx_conformance.py`.",
        "",
        "## By tier",
        "",
        "| backend | cases | tier | " + " | ".join(STATUSES) + " | passing |",
        "|---|---|---|" + "---|" * (len(STATUSES) + 1),
    ]
    for backend, found in scores.items():
        for label, keep in GROUPS.items():
            for tier in range(5):
                chosen = [c for c in cases if keep(c) and c.tier == tier]
                if chosen:
                    lines.append(f"| {backend} | {label} | {tier} | {cells(chosen, found)} |")
    lines += ["", "## By op", "", "Cases that pass, of all, written out as functions too."]
    for tier in range(5):
        ops = sorted({c.op for c in cases if c.kind == "node" and tier_of(c.op) == tier})
        lines += ["", f"### Tier {tier}", "", "| op | cases | " + " | ".join(scores) + " | what else |"]
        lines += ["|---|---|" + "---|" * (len(scores) + 1)]
        for op in ops:
            chosen = [c for c in cases if c.kind == "node" and c.op == op]
            passing = [f"{sum(found[c.name].status == 'pass' for c in chosen)}" for found in scores.values()]
            lines.append(f"| {op} | {len(chosen)} | {' | '.join(passing)} | {rest(chosen, scores)} |")
    return "\n".join(lines) + "\n"


GROUPS = {
    "ops, core": lambda c: c.kind == "node" and c.is_core,
    "ops, other types": lambda c: c.kind == "node" and not c.is_core,
    "from PyTorch": lambda c: c.kind.startswith("pytorch"),
    "simple": lambda c: c.kind == "simple",
    "networks": lambda c: c.kind == "light",
}


def cells(cases: list[Case], found: dict[str, Score]) -> str:
    count = Counter(found[c.name].status for c in cases)
    share = f"{100 * count['pass'] / len(cases):.1f} %"
    return " | ".join([*(str(count[s]) for s in STATUSES), share])


def rest(cases: list[Case], scores: Scores) -> str:
    """What does not pass on the first backend, with one reason each."""
    found = next(iter(scores.values()))
    reasons: dict[str, int] = {}
    for case in cases:
        score = found[case.name]
        if score.status != "pass":
            text = f"{score.status}: {reason(score.message)}"
            reasons[text] = reasons.get(text, 0) + 1
    return "; ".join(f"{n} {text}" for text, n in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))[:3])


def reason(message: str) -> str:
    """The cause in a few words: the first detail of an error of many lines, without the node's name."""
    lines = [line.strip() for line in message.splitlines()] or [""]
    line = lines[1] if len(lines) > 1 else lines[0]
    return line.split(": ", 1)[-1].replace("|", "/")[:90]


if __name__ == "__main__":
    sys.exit(main())
