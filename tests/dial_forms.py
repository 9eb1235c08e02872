"""The dial from a loop to straight-line code: passes by the form that they give a loop of `STEPS` steps."""

from __future__ import annotations

__all__ = ["FORMS", "STEPS"]

STEPS = 6
FORMS = {
    "as written": "",
    "taken apart": "decompose",
    "work moved out": "decompose,canonicalize,cse,simplify-scans,hoist,dce",
    "merged": "decompose,merge-scans{shared=false},cse,simplify-scans,dce",
    "by two": "decompose,unroll{max=1,factor=2}",
    "by four, with a rest": "decompose,unroll{max=1,factor=4}",
    "written out": "decompose,unroll{max=6}",
    "folded back": "decompose,canonicalize,cse,unroll{max=6},cse,reroll,dce",
    "chosen": "decompose,unroll{max=1,factor=0,auto=true}",
}
