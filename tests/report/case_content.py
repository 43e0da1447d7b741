"""What the models of the fixture case say, and what was measured on it."""

from typing import Any

HOSTILE = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(2)></textarea></pre></style>",
    "bidi": "The answer is \u202egnorw\u202c and \u2066hidden\u2069.",
    "invisible": "zero\u200bwidth\u00adsoft\ufeffmark\u2060 \U000e0041tag",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;owned\x07 nul\x00 bell\x07\r\nnext",
    "long": "a" * 10_000,
    "right to left": "שלום עולם, هذا نص عربي",
    "surrogate": "half \ud800 pair",
    "markdown": "```\n# not a heading\n[link](http://example.org) | cell | `tick`\n```",
    "marks": "Z" + "\u0300" * 40 + "algo",
    "css": "}body{background:url(http://example.org/x)} {{ 7*7 }} {% raw %}",
}
MEASURES: tuple[dict[str, Any], ...] = (
    {"measure": "answer-shared@1", "group": "idiosyncrasy", "unit": "share", "closer": "higher",
     "value": None, "interval": None, "probes": 0, "implementation": None,
     "undefined": "no probe has a checkable answer <b>&</b> none was asked"},
    {"measure": "embedding-cosine@1", "group": "representation", "unit": "cosine",
     "closer": "higher", "value": 0.8123456789, "interval": [0.7712, 0.8498], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 bootstrap resamples", "undefined": None},
    {"measure": "embedding-mmd@1", "group": "representation", "unit": "squared discrepancy",
     "closer": "lower", "value": 0.0042, "interval": [-0.0031, 0.0124], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 half-samples", "undefined": None},
    {"measure": "logit-js@1", "group": "distribution", "unit": "nats/token", "closer": "lower",
     "value": 0.0873, "interval": [0.0741, 0.1012], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 bootstrap resamples", "undefined": None},
    {"measure": "logit-kl-forward@1", "group": "distribution", "unit": "nats/token",
     "closer": "lower", "value": 0.4127, "interval": [0.3561, 0.4733], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 bootstrap resamples", "undefined": None},
    {"measure": "logit-top1@1", "group": "distribution", "unit": "share", "closer": "higher",
     "value": 0.7346, "interval": [0.701, 0.7655], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 bootstrap resamples", "undefined": None},
    {"measure": "logit-tv@1", "group": "distribution", "unit": "share", "closer": "lower",
     "value": 0.2214, "interval": [0.1987, 0.2451], "probes": 16,
     "implementation": "numpy 2.4.0; 1000 bootstrap resamples", "undefined": None},
    {"measure": "text-chrf@1", "group": "text", "unit": "score", "closer": "higher",
     "value": 0.4419, "interval": [0.3902, 0.4987], "probes": 16,
     "implementation": "sacrebleu 2.5.1; 1000 bootstrap resamples", "undefined": None},
    {"measure": "text-ngram-overlap@1", "group": "text", "unit": "share", "closer": "higher",
     "value": 1.25e-05, "interval": None, "probes": 1,
     "implementation": "python 3.11", "undefined": None},
)  # fmt: skip

CONTROLS = [("indep-a", "independent"), ("indep-b", "independent"), ("sib", "sibling")]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hostile": {"hostile": True, "controls": CONTROLS},
    "text-only": {"positions": False},
    "scan": {"suspects": ("student", "tuned-1.5"), "controls": CONTROLS},
}
"""Name -> arguments of `build_case`. Not in conftest.py: that name is every folder's."""
