"""Weights that come with a package: told apart by their bytes, and missed before a job starts."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from schemas.errors import EngineMissingError
from stages import vad
from stages.asr import pocketsphinx
from stages.asr.pocketsphinx import PocketsphinxAsr, PocketsphinxAsrSpec
from stages.base import Stage
from stages.diarize.embeddings import EmbeddingDiarizer
from stages.mos.dnsmos import Dnsmos, DnsmosSpec
from stages.vad import SileroVad, weights_path
from stages.weights import files_digest, package_folder


def test_a_digest_is_that_of_the_bytes_in_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1" * 300_000)
    two.write_bytes(b"2")
    wanted = hashlib.sha256(b"1" * 300_000 + b"2").hexdigest()
    assert files_digest(one, two) == wanted[:12]
    assert files_digest(two, one) != files_digest(one, two)


def test_a_package_is_found_without_importing_it() -> None:
    assert weights_path().is_relative_to(package_folder("silero_vad") or Path("none"))
    assert package_folder("no_such_package") is None


@pytest.mark.parametrize(
    "stage",
    [
        SileroVad(SileroVad.Spec()),
        EmbeddingDiarizer(EmbeddingDiarizer.Spec()),
        PocketsphinxAsr(PocketsphinxAsrSpec()),
        Dnsmos(DnsmosSpec()),
    ],
    ids=lambda stage: stage.engine,
)
def test_a_description_ends_with_the_digest_of_the_weights(stage: Stage) -> None:
    digest = stage.describe().split()[-1].rstrip(")")
    assert len(digest) == 12
    assert int(digest, 16)
    assert stage.describe() == stage.describe()


@pytest.mark.parametrize(
    ("module", "engine", "said"),
    [
        (vad, lambda: SileroVad(SileroVad.Spec()), "silero_vad_16k_sequence.onnx"),
        (pocketsphinx, lambda: PocketsphinxAsr(PocketsphinxAsrSpec()), "model/en-us/en-us"),
    ],
    ids=["silero", "pocketsphinx"],
)
def test_missing_weights_are_named_on_the_driver(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    engine: Callable[[], Stage],
    said: str,
) -> None:
    monkeypatch.setattr(module, "package_folder", lambda name: tmp_path)
    with pytest.raises(EngineMissingError, match=said):
        engine()
