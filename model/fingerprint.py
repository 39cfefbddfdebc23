"""Codes and model belong together only if one audio tokenizer stands behind both."""

import json
from pathlib import Path
from typing import Any

from model.checkpoint import CONFIG_NAME
from model.config_keys import OWN_KEY
from model.spec import read_model_config
from schemas.errors import ModelError


def require_same_tokenizer(found: str, wanted: str, *, where: str) -> None:
    """Raises `ModelError` naming what differs between two fingerprints of an audio tokenizer.

    `found` made the codes at `where`; `wanted` made those that the model was trained on. Both are
    canonical JSON, as `Tokenizer.fingerprint()` gives them.
    """
    if found == wanted:
        return
    theirs, ours = _facts(found, where), _facts(wanted, "the model")
    differing = [
        f"{name} {theirs.get(name)!r} instead of {ours.get(name)!r}"
        for name in sorted({*theirs, *ours})
        if theirs.get(name) != ours.get(name)
    ]
    raise ModelError(
        f"{where}: codes of another audio tokenizer: {'; '.join(differing)}; tokenize again with "
        "the tokenizer of this model, or take the model that goes with these codes"
    )


def noted_tokenizer(folder: str | Path) -> str | None:
    """Fingerprint of the audio tokenizer that a model's folder says it was trained with."""
    noted = read_model_config(Path(folder) / CONFIG_NAME).get(OWN_KEY)
    found = noted.get("audio_tokenizer") if isinstance(noted, dict) else None
    return found if isinstance(found, str) else None


def _facts(fingerprint: str, where: str) -> dict[str, Any]:
    try:
        facts = json.loads(fingerprint)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise ModelError(
            f"{where}: tokenizer fingerprint {fingerprint[:40]!a} is not a JSON object; write the "
            "shards, or convert the model, again"
        )
    return facts
