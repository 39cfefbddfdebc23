"""`audiomill doctor`: what this machine has, and what each missing thing would give.

Looks, and changes nothing: no model is loaded, no cluster started, nothing fetched. A thing that is
broken is a finding and never the end of the examination.
"""

import json
import os

from jobs import doctor_engines, doctor_machine
from jobs.diagnosis import Diagnosis, Section, State, look

_QUESTIONS = (
    ("Machine", (("processors", doctor_machine.processors), ("disks", doctor_machine.disks))),
    ("GPU", (("GPU", doctor_machine.graphics), ("attention", doctor_machine.attention))),
    (
        "Engines",
        (("engines", doctor_engines.engines), ("tokenizers", doctor_engines.tokenizers)),
    ),
    ("Models", (("model cache", doctor_machine.models),)),
    ("Audio", (("FFmpeg", doctor_machine.decoders),)),
    ("Cluster", (("Ray", doctor_machine.ray),)),
    ("Packages", (("packages", doctor_machine.packages),)),
)
_STYLES: dict[State, str] = {"ok": "green", "missing": "yellow", "setting": "cyan", "broken": "red"}


def diagnose() -> Diagnosis:
    """Findings about this machine, in a few seconds (most of it the import of torch)."""
    return Diagnosis(
        tuple(
            Section(
                title,
                tuple(found for name, ask in questions for found in look(name, ask)),
                brief=title == "Packages",
            )
            for title, questions in _QUESTIONS
        )
    )


def run_doctor(as_json: bool) -> int:
    """Prints the diagnosis; returns 0, because what is missing is optional or says so in a run."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    diagnosis = diagnose()
    if as_json:
        print(json.dumps(diagnosis.to_json(), ensure_ascii=False))
        return 0
    try:
        from rich.console import Console
    except ImportError:
        print(diagnosis.to_text())
        return 0
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for state, line in diagnosis.lines():
        console.print(line, style=_STYLES[state] if state else None)
    return 0
