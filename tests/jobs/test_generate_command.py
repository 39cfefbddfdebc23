"""`audiomill generate`: every task on a tiny model, from the command line to text and WAV."""

import json
import shutil
import unicodedata
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.cli import main
from jobs.tokenizer_command import write_wav
from model import MiMoAudio, small_model, untrained_model
from model.small import speaking_half, tiny_spec
from model.text import TextTokenizer
from tokenizer import small_tokenizer

RATE_HZ = 24_000
FRAME = 960


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model whose answers are half speech, a tokenizer, and recordings."""
    folder = tmp_path_factory.mktemp("generate")
    tokenizer = small_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    speaking_half(small_model()).save_pretrained(folder / "model")
    TextTokenizer.of_bytes().save(folder / "model")
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    for name, pitch_hz in (("a", 200.0), ("b", 300.0)):
        tone = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s)
        write_wav(folder / f"{name}.wav", tone.astype(np.float32), RATE_HZ)
    examples = [
        {"role": "user", "audio": "a.wav", "text": "How high?"},
        {"role": "assistant", "audio": "b.wav", "text": "Higher."},
    ]
    (folder / "examples.json").write_text(json.dumps(examples))
    texts = [{"role": "user", "text": "One"}, {"role": "assistant", "text": "Two"}]
    (folder / "texts.json").write_text(json.dumps(texts))
    heard = [{"role": "user", "audio": "a.wav"}, examples[1]]
    (folder / "heard.json").write_text(json.dumps(heard))
    (folder / "deep.json").write_text("[" * 5000 + "]" * 5000)
    return folder


def ask(place: Path, *arguments: str, new: int = 10) -> int:
    filled = [argument.replace("@", f"{place}/") for argument in arguments]
    folders = ["--model", str(place / "model"), "--tokenizer", str(place / "tokenizer")]
    return main(["generate", *filled, *folders, "--max-new", str(new)])


def num_samples(path: Path) -> int:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        return file.getnframes()


TEXT_TASKS = {
    "recognition": ["asr", "--audio", "@a.wav"],
    "understanding": ["understand", "--audio", "@a.wav", "--text", "What is it?"],
    "thinking": ["understand", "--audio", "@a.wav", "--text", "What is it?", "--think"],
    "text dialogue": ["dialogue", "--answer", "text", "--text", "Hello.", "--turns", "@texts.json"],
    "speech to text": ["dialogue", "--answer", "text", "--audio", "@a.wav", "--instruction", "Ok."],
    "question": ["question", "--audio", "@b.wav", "--text", "And?", "--turns", "@examples.json"],
    "few texts": ["few-shot", "--answer", "text", "--text", "Two", "--turns", "@texts.json"],
    "few heard": ["few-shot", "--answer", "text", "--audio", "@b.wav", "--turns", "@heard.json"],
}
SPEECH_TASKS = {
    "reading": ["tts", "--text", "Good morning."],
    "style": ["instruct-tts", "--text", "Good day.", "--instruction", "softly"],
    "voice": ["instruct-tts", "--text", "Good day.", "--instruction", "loud", "--voice", "@b.wav"],
    "own words": ["instruct-tts", "--text", "Say hello in a whisper."],
    "spoken dialogue": ["dialogue", "--answer", "speech", "--audio", "@a.wav", "--voice", "@b.wav"],
    "several turns": [
        *["dialogue", "--answer", "speech", "--audio", "@b.wav", "--turns", "@heard.json"],
        *["--instruction", "Be brief."],
    ],
    "text to speech": ["dialogue", "--answer", "speech", "--text", "Hello."],
    "continuation": ["continue", "--audio", "@a.wav"],
    "in context": [
        *["in-context", "--audio", "@b.wav", "--turns", "@heard.json"],
        *["--instruction", "Raise the pitch."],
    ],
    "few spoken": ["few-shot", "--answer", "speech", "--audio", "@b.wav", "--turns", "@heard.json"],
}


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_tasks_that_answer_in_text(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert ask(place, *TEXT_TASKS[name]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("\n")
    assert "cut off after 10 groups" in printed.err


@pytest.mark.parametrize("name", SPEECH_TASKS)
def test_tasks_that_answer_in_speech(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "deep" / "x.wav"
    assert ask(place, *SPEECH_TASKS[name], "--out", str(out), new=25) == 0
    printed = capsys.readouterr().out
    patches, rest = divmod(num_samples(out), 4 * FRAME)
    assert rest == 0
    assert 1 <= patches <= 25
    assert printed.endswith(f"{out}: {patches * 0.16:.2f} s\n")


def test_streamed_as_whole(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, streamed = tmp_path / "whole.wav", tmp_path / "streamed.wav"
    assert ask(place, *SPEECH_TASKS["reading"], "--out", str(whole), new=40) == 0
    said = capsys.readouterr().out.splitlines()[:-1]
    assert ask(place, *SPEECH_TASKS["reading"], "--out", str(streamed), "--stream", new=40) == 0
    assert num_samples(streamed) == num_samples(whole)
    found = "\n".join(capsys.readouterr().out.splitlines()[:-1])
    assert found.strip() == "\n".join(said).strip()


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_speech_that_was_asked_for_and_did_not_come_is_no_success(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """The file of an earlier question stays, so a script has nothing but the exit code."""
    model = small_model()
    with torch.no_grad():
        model.lm_head.weight[model.special_tokens.empty] = 0.0  # the greedy choice is never 0
    model.save_pretrained(tmp_path / "model")
    TextTokenizer.of_bytes().save(tmp_path / "model")
    out = tmp_path / "x.wav"
    out.write_bytes(b"of an earlier question")
    question = ["generate", "tts", "--text", "Hello.", "--max-new", "5", "--out", str(out), *more]
    folders = ["--model", str(tmp_path / "model"), "--tokenizer", str(place / "tokenizer")]
    assert main([*question, *folders, "--text-sampling", "temperature=0"]) == 3
    assert f"no speech in the answer; {out} was not written" in capsys.readouterr().err
    assert out.read_bytes() == b"of an earlier question"


def test_sampling_and_seed_come_from_the_command_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(*more: str) -> str:
        assert ask(place, "understand", "--audio", "@a.wav", "--text", "?", *more) == 0
        return capsys.readouterr().out

    hot = ("--text-sampling", "temperature=5,top_k=200")
    assert answer(*hot, "--seed", "1") == answer(*hot, "--seed", "1")
    assert answer(*hot, "--seed", "1") != answer(*hot, "--seed", "2")
    greedy = ("--text-sampling", "temperature=0", "--speech-sampling", "temperature=0")
    assert answer(*greedy, "--seed", "1") == answer(*greedy, "--seed", "2")


def test_a_tiny_untrained_model_says_that_it_is_one(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", "tts", "--text", "Hello.", "--tokenizer", str(place / "tokenizer")]
    out = str(tmp_path / "x.wav")
    assert main([*arguments, "--max-new", "30", "--out", out]) == 0
    printed = capsys.readouterr()
    assert "untrained model answers, and its answer is noise" in printed.err
    assert num_samples(tmp_path / "x.wav") > 0
    assert not [c for c in printed.out if unicodedata.category(c) == "Cc" and c not in "\n\t"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing"], "there is no task 'sing'"),
        (["asr"], "asr lacks --audio"),
        (["tts", "--text", "a", "--voice", "@a.wav"], "tts has no use for --voice"),
        (["tts", "--text", "a"], "answers in speech; name a WAV file with --out"),
        (["asr", "--audio", "@a.wav", "--out", "x.wav"], "answers in text; leave --out out"),
        (["dialogue", "--answer", "song", "--text", "a"], "--answer is 'song', wanted text or"),
        (["dialogue", "--answer", "text"], "wants either --text or --audio"),
        (["asr", "--audio", "@examples.json"], "examples.json"),
        (["tts", "--text", " ", "--out", "@x.wav"], "--text is empty"),
        (["tts", "--text", "a <|eot|>", "--out", "@x.wav"], "holds <|eot|>, which is structure"),
        (["tts", "--text", "a", "--out", "@model"], "cannot be written"),
        (["tts", "--text", "a", "--out", "@a.wav/x.wav"], "name a file that can be made"),
        (["asr", "--audio", "@a.wav", "--device", "gpu"], "device is 'gpu', wanted cpu or cuda"),
        (["asr", "--audio", "@a.wav", "--turns", "@examples.json"], "has no use for --turns"),
        (["question", "--audio", "@a.wav", "--text", "?", "--turns", "@x"], "x: no such file"),
        (["asr", "--audio", "@none.wav"], "none.wav"),
        (["asr", "--audio", "@a.wav", "--text-sampling", "top_k=x"], "found 'top_k=x'"),
        (["asr", "--audio", "@a.wav", "--text-sampling", "top_p=2"], "top_p is 2.0"),
        (
            ["question", "--audio", "@a.wav", "--text", "?", "--turns", "@texts.json"],
            "a turn without audio, which question wants",
        ),
        (
            ["question", "--audio", "@a.wav", "--text", "?", "--turns", "@model/config.json"],
            "wanted a list of turns",
        ),
        (
            ["question", "--audio", "@a.wav", "--text", "?", "--turns", "@deep.json"],
            "is nested deeper than 12 levels",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert ask(place, *arguments) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith("audiomill: ")
    assert message in printed


def test_a_prompt_beyond_the_context_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(place, "understand", "--audio", "@a.wav", "--text", "long " * 500) == 2
    assert "leaves no room in the context of 2048" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(place, *TEXT_TASKS["recognition"], "--device", "cuda") == 2
    assert "device is cuda, and torch finds no GPU here" in capsys.readouterr().err


def test_a_model_folder_that_lacks_something_is_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["generate", "asr", "--audio", str(place / "a.wav"), "--max-new", "2", "--model"]
    assert main([*asked, str(place / "model")]) == 2
    assert "name its folder with --tokenizer" in capsys.readouterr().err
    asked[-1:] = ["--tokenizer", str(place / "tokenizer"), "--model"]
    assert main([*asked, str(tmp_path)]) == 2
    assert "tokenizer.json: not there; a model folder needs its text" in capsys.readouterr().err
    shutil.copytree(place / "model", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<|eot|>", "<|other|>"))
    assert main([*asked, str(tmp_path)]) == 2
    assert "without <|eot|>; add" in capsys.readouterr().err


def test_a_tokenizer_of_other_codebooks_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tiny_spec()
    spec = replace(spec, channel_sizes=(513,) * 8, empty_codes=(512,) * 8)
    untrained_model(spec).save_pretrained(tmp_path)
    TextTokenizer.of_bytes().save(tmp_path)
    asked = ["generate", "asr", "--audio", str(place / "a.wav"), "--model", str(tmp_path)]
    assert main([*asked, "--tokenizer", str(place / "tokenizer")]) == 2
    assert "the model wants [512, 512, 512" in capsys.readouterr().err


def test_codes_of_another_tokenizer_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MiMoAudio.from_pretrained(place / "model")
    model.audio_tokenizer = small_tokenizer().fingerprint()
    model.save_pretrained(tmp_path)
    TextTokenizer.of_bytes().save(tmp_path)
    asked = ["generate", "asr", "--audio", str(place / "a.wav"), "--max-new", "2"]
    fitting = [*asked, "--model", str(tmp_path), "--tokenizer", str(place / "tokenizer")]
    assert main(fitting) == 0
    model.audio_tokenizer = json.dumps({"weights_sha256": "of-another"})
    model.save_pretrained(tmp_path)
    assert main(fitting) == 2
    assert "instead of 'of-another'" in capsys.readouterr().err
