"""The voices of the training speech and how each is made to speak: flite, festival, espeak-ng.

Only voices whose licence lets their speech be used and changed for any purpose, trade included. A
synthesiser or a voice that is not installed is left out and named; nothing here is required.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.demo.script import MANDARIN_VOICE
from schemas.errors import AudiomillError

Engine = Literal["flite", "festival", "espeak-ng"]

ENGINE_SHARES: dict[Engine, float] = {"flite": 0.35, "festival": 0.30, "espeak-ng": 0.35}
"""Of the hours; where an engine is not installed, the others take its part in proportion."""

_FLITE_MEAN_F0_HZ = {"slt": 171.0, "awb": 130.0, "rms": 101.0, "kal16": 95.0}
_GPL2, _GPL3, _LGPL2 = "GPL-2.0-or-later", "GPL-3.0-or-later", "LGPL-2.0-or-later"
_FESTIVAL_VOICES = (  # name, language, encoding that its text module expects, licence, package
    ("kal_diphone", "en", "ascii", "BSD-like (CSTR, CMU)", "festvox-kallpc16k"),
    ("cmu_us_slt_arctic_hts", "en", "ascii", "BSD-like (CMU)", "festvox-us-slt-hts"),
    ("msu_ru_nsh_clunits", "ru", "utf-8", "BSD-like (N. Shmyrev)", "festvox-ru"),
    ("suo_fi_lj_diphone", "fi", "latin-1", _LGPL2, "festvox-suopuhe-lj"),
    ("hy_fi_mv_diphone", "fi", "latin-1", _LGPL2, "festvox-suopuhe-mv"),
    ("upc_ca_ona_hts", "ca", "latin-1", "LGPL-2.1-or-later", "festvox-ca-ona-hts"),
    ("lp_diphone", "it", "latin-1", _GPL2, "festvox-italp16k"),
    ("pc_diphone", "it", "latin-1", _GPL2, "festvox-itapc16k"),
    ("czech_ph", "cs", "iso-8859-2", _GPL2, "festvox-czech-ph"),
    ("czech_dita", "cs", "iso-8859-2", _GPL3, "festvox-czech-dita"),
    ("czech_krb", "cs", "iso-8859-2", _GPL3, "festvox-czech-krb"),
    ("czech_machac", "cs", "iso-8859-2", _GPL3, "festvox-czech-machac"),
    ("hindi_NSK_diphone", "hi", "utf-8", _GPL2, "festvox-hi-nsk festival-hi"),
)
_ESPEAK_ENGLISH = ("en-us", "en-gb", "en-gb-scotland", "en-us-nyc", "en-gb-x-rp", "en-029")
_ESPEAK_OTHERS = {
    "de": "de",
    "fr-fr": "fr",
    "es": "es",
    "es-419": "es",
    "it": "it",
    "pt": "pt",
    "pt-br": "pt",
    "ru": "ru",
    "cs": "cs",
    "fi": "fi",
    "ca": "ca",
    "hi": "hi",
}
_ESPEAK_VARIANTS = (
    *("f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4", "f5", "m5", "m6", "m7", "m8", "croak"),
    *("whisper", "whisperf", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene"),
    *("Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen"),
    *("adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed"),
    *("edward", "grandma", "grandpa", "gustave", "iven", "klatt", "klatt2", "klatt3", "linda"),
    *("max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert"),
    *("sandro", "shelby", "steph", "travis", "victor", "zac"),
)
_ESPEAK_GROUP_SHARES = {"en": 0.35, "zh": 0.30, "others": 0.35}
_OTHERS_EVERY = 5  # each other language gets every fifth variant, starting one further on
_ESPEAK_USUAL_WORDS_PER_MINUTE = 170
_TIME_LIMIT_S = 60.0
# Diphone voices take their pitch from the relation Target; the others have none and keep theirs.
_SCALE_TARGETS = (
    "(define (scale_targets utt)"
    " (if (member 'Target (utt.relationnames utt))"
    '  (mapcar (lambda (t) (item.set_feat t "f0" (* f0_scale (item.feat t "f0"))))'
    "   (utt.relation.leafs utt 'Target))))"
)


class SynthesisError(AudiomillError, RuntimeError):
    """A synthesiser ended with an error or wrote nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One voice of one synthesiser."""

    name: str
    """Folder of its files, unique."""
    engine: Engine
    identifier: str
    """What the synthesiser calls it."""
    language: str
    """ISO 639-1; names the word list of `words.yaml`."""
    licence: str
    package: str
    """Debian packages that bring it."""
    share: float
    """Of the hours, where everything is installed."""
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How an utterance is spoken; both in [0, 1], from slow to fast and from low to high."""

    speed: float
    pitch: float


def all_voices() -> list[Voice]:
    """Every voice that may be used, installed or not; the shares add up to 1."""
    voices = [
        Voice(
            name=f"flite-{name}",
            engine="flite",
            identifier=name,
            language="en",
            licence="BSD-like (CMU)",
            package="flite",
            share=ENGINE_SHARES["flite"] / len(_FLITE_MEAN_F0_HZ),
        )
        for name in _FLITE_MEAN_F0_HZ
    ]
    for name, language, encoding, licence, package in _FESTIVAL_VOICES:
        voices.append(
            Voice(
                name=f"festival-{name}",
                engine="festival",
                identifier=name,
                language=language,
                licence=licence,
                package=package,
                share=ENGINE_SHARES["festival"] / len(_FESTIVAL_VOICES),
                encoding=encoding,
            )
        )
    return voices + _espeak_voices()


def _espeak_voices() -> list[Voice]:
    groups: dict[str, list[tuple[str, str]]] = {"en": [], "zh": [], "others": []}
    for number, variant in enumerate(_ESPEAK_VARIANTS):
        accent = _ESPEAK_ENGLISH[number % len(_ESPEAK_ENGLISH)]
        groups["en"].append((f"{accent}+{variant}", "en"))
        groups["zh"].append((f"{MANDARIN_VOICE}+{variant}", "zh"))
    for first, (accent, language) in enumerate(_ESPEAK_OTHERS.items()):
        for variant in _ESPEAK_VARIANTS[first % _OTHERS_EVERY :: _OTHERS_EVERY]:
            groups["others"].append((f"{accent}+{variant}", language))
    return [
        Voice(
            name=f"espeak-{identifier}",
            engine="espeak-ng",
            identifier=identifier,
            language=language,
            licence="own output of espeak-ng (GPL-3.0-or-later covers the program)",
            package="espeak-ng",
            share=ENGINE_SHARES["espeak-ng"] * _ESPEAK_GROUP_SHARES[group] / len(members),
        )
        for group, members in groups.items()
        for identifier, language in members
    ]


def is_installed(voice: Voice) -> bool:
    """Whether its synthesiser is on PATH and, for festival, loads the voice."""
    if shutil.which(voice.engine) is None:
        return False
    if voice.engine != "festival":
        return True
    command = ["festival", "-b", f"(voice_{voice.identifier})"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def speed_factor(voice: Voice, style: Style) -> float:
    """Times the usual speed: 0.8 to 1.25, and 0.71 to 1.29 (120 to 220 words/min) for espeak-ng."""
    if voice.engine == "espeak-ng":
        return _words_per_minute(style) / _ESPEAK_USUAL_WORDS_PER_MINUTE
    return float(0.8 * (1.25 / 0.8) ** style.speed)


def synthesise(voice: Voice, text: str, style: Style, path: Path) -> None:
    """Writes a WAV of the voice saying the text, at its own rate; the folder has to be there.

    Raises `SynthesisError` where the synthesiser fails, hangs for a minute or writes nothing.
    """
    try:
        done = subprocess.run(
            _command(voice, text, style, path.name),
            cwd=path.parent,
            capture_output=True,
            check=False,
            timeout=_TIME_LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SynthesisError(
            f"{voice.name} took over {_TIME_LIMIT_S:.0f} s for {text!r}"
        ) from error
    if done.returncode != 0 or not path.is_file():
        said = done.stderr.decode(errors="replace").strip()[-200:] or "nothing"
        raise SynthesisError(f"{voice.name} ended with {done.returncode} and said: {said}")


def _command(voice: Voice, text: str, style: Style, name: str) -> list[bytes]:
    stretch = 1.0 / speed_factor(voice, style)
    if voice.engine == "espeak-ng":
        pitch = round(20 + 60 * style.pitch)
        command = ["espeak-ng", "-v", voice.identifier, "-p", str(pitch)]
        command += ["-s", str(_words_per_minute(style)), "-w", name, text]
        return [word.encode() for word in command]
    if voice.engine == "flite":
        f0_hz = _FLITE_MEAN_F0_HZ[voice.identifier] * 2 ** (0.7 * (style.pitch - 0.5))
        command = ["flite", "-voice", voice.identifier]
        command += ["--setf", f"duration_stretch={stretch:.3f}"]
        command += ["--setf", f"int_f0_target_mean={f0_hz:.1f}", "-t", text, "-o", name]
        return [word.encode() for word in command]
    scheme = [
        f"(voice_{voice.identifier})",
        f"(set! f0_scale {2 ** (0.6 * (style.pitch - 0.5)):.3f})",
        _SCALE_TARGETS,
        "(set! plain_targets Int_Targets)",
        "(define (Int_Targets utt) (plain_targets utt) (scale_targets utt) utt)",
        f"(Parameter.set 'Duration_Stretch {stretch:.3f})",
        f'(set! said (Utterance Text "{text}"))',
        "(utt.synth said)",
        f'(utt.save.wave said "{name}" \'riff)',
    ]
    return [b"festival", b"-b", *(line.encode(voice.encoding) for line in scheme)]


def _words_per_minute(style: Style) -> int:
    return round(120 * (220 / 120) ** style.speed)
