"""Every task's prompt against stored prompts of the published inference code.

The wording of those is not ours to ship: it is read where it lies, and the tests skip without it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from model.layout import Grid
from model.segments import Spoken
from model.tasks import USER, Tasks, Turn
from model.text import TextTokenizer
from model.wording import Wording

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "golden" / "prompts"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"{GOLDEN} is not there")

Arrays = Mapping[str, np.ndarray[Any, Any]]
CASES = (
    "asr",
    "tts_zh",
    "tts_case_folding",
    "tts_instruct",
    "tts_instruct_voice",
    "tts_voice_without_instruct",
    "tts_natural",
    "tts_natural_voice",
    "audio_understanding",
    "audio_understanding_thinking",
    "spoken_dialogue",
    "spoken_dialogue_system",
    "spoken_dialogue_voice_system",
    "spoken_dialogue_multiturn",
    "s2t_dialogue",
    "s2t_dialogue_multiturn_thinking",
    "text_dialogue",
    "text_dialogue_multiturn_thinking",
    "in_context_s2s",
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return load_file(GOLDEN / "vectors.safetensors")


def with_audio(value: Any, arrays: Arrays) -> Any:
    """The builder's arguments, with the recordings in place of their names."""
    if isinstance(value, str) and value.startswith("@"):
        return arrays[f"audio/{value[1:]}"]
    if isinstance(value, list):
        return [with_audio(item, arrays) for item in value]
    if isinstance(value, dict):
        return {key: with_audio(item, arrays) for key, item in value.items()}
    return value


def turns_of(content: Any) -> list[Turn]:
    if not isinstance(content, list):
        content = [{"role": "user", "content": content}]
    turns = []
    for entry in content:
        said = entry["content"]
        if isinstance(said, dict):
            turns.append(Turn(role=entry["role"], text=said["text"], codes=said["audio"]))
        elif isinstance(said, str):
            turns.append(Turn(role=entry["role"], text=said))
        else:
            turns.append(Turn(role=entry["role"], codes=said))
    return turns


def built(tasks: Tasks, case: str, args: list[Any], kwargs: dict[str, Any]) -> Grid:
    """The case as our tasks would be asked for it."""
    voice = kwargs.get("prompt_speech")
    thinking = kwargs.get("thinking", False)
    if case == "asr":
        return tasks.asr(args[0]).ids
    if case.startswith("tts") and not kwargs.get("read_text_only", True):
        return tasks.natural_tts(args[0], voice=voice).ids
    if case.startswith("tts") and "instruct" in kwargs:
        return tasks.instruct_tts(args[0], kwargs["instruct"], voice=voice).ids
    if case.startswith("tts"):
        return tasks.tts(args[0]).ids
    if case.startswith("audio_understanding"):
        return tasks.understand(args[0], args[1], thinking=thinking).ids
    if case == "in_context_s2s":
        pairs = [
            (each["input_audio"], Spoken(each["output_transcription"], each["output_audio"]))
            for each in args[1]
        ]
        return tasks.in_context_speech(args[0], pairs, args[2]).ids
    return tasks.dialogue(
        turns_of(args[0]),
        answer="speech" if case.startswith("spoken") else "text",
        system=kwargs.get("system_prompt"),
        voice=voice,
        thinking=thinking,
    ).ids


def wording_of(case: str, document: dict[str, Any]) -> Wording:
    """The published lists, cut down to the line that was drawn for this case."""
    templates = json.loads((GOLDEN / "templates.json").read_text(encoding="utf-8"))
    texts = [
        segment["text"] for segment in document["cases"][case]["segments"] if "text" in segment
    ]
    drawn = {
        key: [
            line
            for line in lines
            if any(line in (t, t.removeprefix(USER).split(": ")[0]) for t in texts)
        ]
        for key, lines in templates.items()
    }

    def system_of(other: str) -> str:
        segments = document["cases"][other]["segments"]
        text: str = segments[1]["text"]
        return text

    asr = drawn["asr_zh"] + drawn["asr_en"] or templates["asr_en"]
    return Wording(
        asr_zh=asr,
        asr_en=asr,
        tts_zh=drawn["tts_zh"] or templates["tts_zh"],
        tts_en=drawn["tts_en"] or templates["tts_en"],
        style_system=system_of("tts_instruct"),
        style_voice_system=system_of("tts_instruct_voice"),
        voice=system_of("spoken_dialogue_voice_system"),
    )


def tasks_of(document: dict[str, Any], wording: Wording | None = None) -> Tasks:
    return Tasks(
        TextTokenizer.of_bytes(),
        empty_codes=document["empty_ids"],
        group_size=document["group_size"],
        wording=wording,
    )


def test_the_tokenizer_of_bytes_is_that_of_the_stored_prompts(document: dict[str, Any]) -> None:
    assert TextTokenizer.of_bytes().special.to_mapping() == document["special_tokens"]


def test_no_stored_case_is_left_out(document: dict[str, Any]) -> None:
    assert set(document["cases"]) == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_a_prompt_is_laid_out_as_published(
    case: str, document: dict[str, Any], arrays: Arrays
) -> None:
    wanted = document["cases"][case]
    tasks = tasks_of(document, wording_of(case, document))
    found = built(
        tasks, case, with_audio(wanted["args"], arrays), with_audio(wanted["kwargs"], arrays)
    )
    np.testing.assert_array_equal(found, arrays[f"ids/{case}"])


@pytest.mark.parametrize("case", CASES)
def test_a_published_prompt_is_read_into_pieces(
    case: str, document: dict[str, Any], arrays: Arrays
) -> None:
    layout = tasks_of(document).layout
    ids = arrays[f"ids/{case}"].astype(np.int64)
    np.testing.assert_array_equal(layout.lay(layout.read(ids)), ids)


def test_a_generated_reply_is_read_as_published(document: dict[str, Any], arrays: Arrays) -> None:
    reply = tasks_of(document).read_reply(arrays["parse/generated"].astype(np.int64))
    assert reply.text == document["parse"]["text"]
    assert reply.codes is not None
    np.testing.assert_array_equal(reply.codes.T, arrays["parse/codes"])


def test_the_published_list_can_be_read_beside_a_checkpoint() -> None:
    wording = Wording.beside(GOLDEN)
    templates = json.loads((GOLDEN / "templates.json").read_text(encoding="utf-8"))
    assert {key: list(getattr(wording, key)) for key in templates} == templates


def test_the_wording_that_is_shipped_is_its_own(document: dict[str, Any]) -> None:
    theirs = {
        line
        for lines in json.loads((GOLDEN / "templates.json").read_text(encoding="utf-8")).values()
        for line in lines
    } | {
        segment["text"]
        for case in document["cases"].values()
        for segment in case["segments"]
        if "text" in segment
    }
    ours = {
        line
        for value in Wording.own().model_dump().values()
        for line in ([value] if isinstance(value, str) else value)
    }
    assert not ours & theirs
