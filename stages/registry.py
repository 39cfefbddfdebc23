"""Which engines there are. A new engine is one file and one line here, or an entry point.

Another package registers engines under the entry-point group `audiomill.engines`, with names of the
form `stage.engine` and a value of the form `module:Class`.
"""

import difflib
from importlib import import_module
from importlib.metadata import entry_points

from schemas.errors import EngineMissingError, SpecError
from stages.base import Stage

ENGINES: dict[str, dict[str, str]] = {
    "decode": {"pyav": "stages.decode:PyavDecode"},
    "normalize": {"bs1770": "stages.normalize:Bs1770Normalize"},
    "fingerprint": {"landmarks": "stages.fingerprint:LandmarkFingerprint"},
    "vad": {"silero": "stages.vad:SileroVad"},
    "diarize": {
        "embeddings": "stages.diarize.embeddings:EmbeddingDiarizer",
        "pyannote": "stages.diarize.pyannote:PyannoteDiarizer",
    },
    "segment": {"turns": "stages.segment:TurnSegmenter"},
    "asr": {
        "pocketsphinx": "stages.asr.pocketsphinx:PocketsphinxAsr",
        "faster-whisper": "stages.asr.faster_whisper:FasterWhisperAsr",
    },
    "quality": {"dsp": "stages.quality:DspQuality"},
    "mos": {
        "dnsmos": "stages.mos.dnsmos:Dnsmos",
        "squim": "stages.mos.squim:Squim",
    },
    "text_quality": {
        "features": "stages.text_quality.features:FeatureTextQuality",
        "endpoint": "stages.text_quality.endpoint:EndpointTextQuality",
    },
    "caption": {
        "attributes": "stages.caption.attributes:AttributeCaption",
        "endpoint": "stages.caption.endpoint:EndpointCaption",
    },
    "safety": {
        "rules": "stages.safety.rules:RuleSafety",
        "endpoint": "stages.safety.endpoint:EndpointSafety",
    },
    "filter": {"thresholds": "stages.filter:ThresholdFilter"},
    "duplicates": {"minhash": "stages.duplicates:MinhashDuplicates"},
}
"""Stage to engine to `module:Class`. The first engine of a stage is its default."""


def engines_of(stage: str) -> dict[str, str]:
    """Engines of a stage by name, ours first; raises `SpecError` for a stage nobody knows."""
    engines = dict(ENGINES.get(stage, {}))
    for entry in entry_points(group="audiomill.engines"):
        entry_stage, _, engine = entry.name.partition(".")
        if entry_stage == stage:
            engines.setdefault(engine, entry.value)
    if not engines:
        raise SpecError(f"there is no stage {stage!r}{_near(stage, list(ENGINES))}")
    return engines


def stage_class(stage: str, engine: str | None = None) -> type[Stage]:
    """Class of an engine; raises `SpecError` for an engine nobody knows."""
    engines = engines_of(stage)
    engine = engine or next(iter(engines))
    if engine not in engines:
        raise SpecError(
            f"stages.{stage}: there is no engine {engine!r}{_near(engine, list(engines))}"
        )
    module, _, name = engines[engine].partition(":")
    try:
        found: type[Stage] = getattr(import_module(module), name)
    except ImportError as error:
        raise EngineMissingError(
            f"stages.{stage}: engine {engine!r} needs the package {error.name!r}, which is not "
            f"installed; install it, or use one of {sorted(engines.keys() - {engine})}"
        ) from error
    return found


def _near(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (there are: {', '.join(known)})"
