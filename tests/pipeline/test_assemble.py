"""Assembling stages: what does not fit together is refused before anything starts."""

from typing import Any

import pytest

from pipeline.assemble import assemble
from schemas.errors import AudiomillError, EngineMissingError, SpecError
from schemas.job import InputsSpec, JobSpec

CHAIN: dict[str, dict[str, Any]] = {
    "decode": {},
    "normalize": {},
    "fingerprint": {},
    "duplicates": {},
    "vad": {},
    "diarize": {},
    "segment": {},
    "quality": {},
    "asr": {},
    "filter": {"rules": [{"column": "snr_db", "min": 5.0}]},
}

CHAIN_END = {"filter": CHAIN["filter"]}


def make_spec(stages: dict[str, dict[str, Any]], **more: Any) -> JobSpec:
    return JobSpec(
        name="mine", inputs=InputsSpec(uri="recordings"), output="out/mine", stages=stages, **more
    )


def without(*labels: str) -> dict[str, dict[str, Any]]:
    return {label: raw for label, raw in CHAIN.items() if label not in labels}


def moved(label: str, before: str) -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = {}
    for name, raw in without(label).items():
        if name == before:
            stages[label] = CHAIN[label]
        stages[name] = raw
    return stages


def test_duplicates_split_the_job_in_two_sweeps_and_only_the_waveform_is_made_again() -> None:
    job = assemble(make_spec(CHAIN))
    first, second = job.passes
    assert [n.label for n in first.stages] == ["decode", "normalize", "fingerprint"]
    assert first.barrier is not None
    assert first.barrier.label == "duplicates"
    assert [n.label for n in second.stages][:3] == ["decode", "normalize", "vad"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (without("vad"), "stages.diarize: reads 'speech', which no stage before it writes"),
        (moved("diarize", "vad"), "'speech', which no stage before it writes; 'vad' does, move"),
        (without("quality"), "stages.filter: reads 'snr_db', which no stage before it writes"),
        ({**CHAIN, "segment@again": {}}, "stages.segment@again: looks at whole recordings, so it"),
        (moved("asr", "segment"), "no stage before it cuts any; put 'segment' before it"),
        (without("decode"), "stages.normalize: reads 'audio', which no stage before it writes"),
        ({**CHAIN, "vat": {}}, "there is no stage 'vat'; did you mean 'vad'?"),
        ({**CHAIN, "asr": {"engine": "wisper"}}, "stages.asr: there is no engine 'wisper'"),
        ({**CHAIN, "vad": {"treshold": 1}}, "stages.vad.treshold: unknown key; did you mean"),
        ({**CHAIN, "vad": {"min_speech_ms": 0.25}}, "the value is in milliseconds"),
        ({**CHAIN, "vad": {"min_speech_s": 1}}, "unknown key; did you mean 'min_speech_ms'?"),
        ({**CHAIN, "vad": {"min_speech_ms": "250 ms"}}, "found '250 ms'; the value is in milli"),
    ],
)
def test_stages_that_do_not_fit_are_refused_with_one_line(
    stages: dict[str, dict[str, Any]], said: str
) -> None:
    with pytest.raises(AudiomillError) as caught:
        assemble(make_spec(stages))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "raw"),
    [
        ("asr", {"engine": "faster-whisper", "model": "nowhere/model"}),
        ("diarize", {"engine": "pyannote", "model": "nowhere/model"}),
    ],
)
def test_an_engine_whose_model_is_missing_is_refused_with_the_way_to_get_it(
    stage: str, raw: dict[str, Any]
) -> None:
    with pytest.raises(EngineMissingError) as caught:
        assemble(make_spec({**CHAIN, stage: raw}))
    message = str(caught.value)
    assert message.startswith(f"stages.{stage}")
    assert "nowhere/model" in message


def test_the_fingerprint_follows_what_decides_rows_and_not_how_it_runs() -> None:
    job = assemble(make_spec(CHAIN))
    same = assemble(make_spec(CHAIN, run={"workers": 1}))
    other = assemble(make_spec({**CHAIN, "vad": {"threshold": 0.6}}))
    assert job.fingerprint() == same.fingerprint()
    assert job.fingerprint() != other.fingerprint()
    changed = {
        label
        for label, digest in job.stage_fingerprints().items()
        if other.stage_fingerprints()[label] != digest
    }
    assert changed == {"vad"}


def test_a_stage_may_stand_twice_under_a_label() -> None:
    short = {"rules": [{"column": "duration_s", "min": 3.0}]}
    job = assemble(make_spec(without("filter") | {"filter@short": short, **CHAIN_END}))
    assert [n.label for n in job.stages][-2:] == ["filter@short", "filter"]
    early = {label: raw for label, raw in CHAIN.items() if label not in ("quality", "filter")}
    with pytest.raises(SpecError, match="filter@snr: reads 'snr_db'"):
        assemble(make_spec(early | {"filter@snr": CHAIN["filter"]}))
