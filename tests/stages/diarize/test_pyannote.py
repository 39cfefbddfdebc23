"""The pyannote engine: a tiny random pipeline goes through the loading and the calls that a real
one goes through. What it says of speakers means nothing; that it says it in our terms does."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import EngineMissingError
from schemas.spans import Span
from schemas.verdict import Keep
from stages.audio import Audio
from stages.base import Recording
from stages.diarize.clustering import link_speakers
from stages.diarize.pyannote import PyannoteDiarizer, comparable

RATE_HZ = 24_000
CONFIG = """
dependencies: {pyannote.audio: 4.0.0}
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    embedding: $model/embedding
    plda: $model/plda
    embedding_exclude_overlap: true
    segmentation_step: 0.5
params:
  clustering: {method: centroid, min_cluster_size: 1, threshold: 0.7}
  segmentation: {min_duration_off: 0.0}
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """pyannote.audio and what it stands on warn at import and use; none of it is ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder as it is published, with seeded random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_pipeline(tmp_path_factory.mktemp("pyannote"))


def write_pipeline(root: Path) -> Path:
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    segmentation = PyanNet(lstm={"hidden_size": 8, "num_layers": 1}, linear={"num_layers": 0})
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=5.0,
        classes=["a", "b"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    embedding = WeSpeakerResNet34()
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0
    )
    for name, model in (("segmentation", segmentation), ("embedding", embedding)):
        model.build()
        checkpoint: dict[str, Any] = {
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
            "pytorch-lightning_version": "2.5.0",
        }
        model.on_save_checkpoint(checkpoint)
        (root / name).mkdir()
        torch.save(checkpoint, root / name / "pytorch_model.bin")
    rng = np.random.default_rng(0)
    (root / "plda").mkdir()
    np.savez(
        root / "plda" / "xvec_transform.npz",
        mean1=rng.normal(size=256),
        mean2=rng.normal(size=128),
        lda=rng.normal(size=(256, 128)),
    )
    np.savez(
        root / "plda" / "plda.npz",
        mu=rng.normal(size=128),
        tr=np.linalg.qr(rng.normal(size=(128, 128)))[0],
        psi=rng.uniform(0.5, 2.0, size=128),
    )
    (root / "config.yaml").write_text(CONFIG)
    return root


def make_recording(seconds: float) -> Recording:
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.normal(size=int(seconds * RATE_HZ))).astype(np.float32)
    speech = [Span(RATE_HZ, samples.size)]
    return Recording("s", "r", "u", {"audio": Audio(samples, RATE_HZ), "speech": speech})


def test_a_pipeline_folder_is_loaded_and_its_turns_lie_on_our_timeline(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stage = PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder)))
    stage.open()
    recording = make_recording(8.0)
    verdict = stage.process(recording)
    assert isinstance(verdict, Keep)
    assert verdict.values.keys() == stage.writes
    turns: Any = verdict.values["turns"]
    assert turns
    assert turns[0].speaker == "S1"
    for turn in turns:
        assert RATE_HZ <= turn.start_sample < turn.end_sample <= recording.audio.num_samples
    assert verdict.values["num_speakers"] == len({turn.speaker for turn in turns})
    assert stage.process(recording) == verdict, "the same recording gives the same turns"
    assert folder.name in stage.describe()


@pytest.mark.parametrize("with_config", [False, True])
def test_a_folder_that_is_no_pipeline_is_named_with_the_way_to_get_one(
    tmp_path: Path, with_config: bool
) -> None:
    spec = PyannoteDiarizer.Spec(model=str(tmp_path))
    if with_config:
        (tmp_path / "config.yaml").write_text("pipeline: {name: 'nowhere.Nothing'}")
    with pytest.raises(EngineMissingError) as caught:
        PyannoteDiarizer(spec).open()
    assert str(tmp_path) in str(caught.value)
    assert "download the whole repository" in str(caught.value)


def test_a_gpu_is_claimed_only_where_the_spec_asks_for_one(folder: Path) -> None:
    cpu = PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder), device="cpu"))
    cuda = PyannoteDiarizer(PyannoteDiarizer.Spec(model=str(folder), device="cuda"))
    assert (cpu.resources().num_gpus, cuda.resources().num_gpus) == (0, 1)


def test_speakers_without_an_embedding_are_linked_with_nobody() -> None:
    means = [np.array([[2.0, 0.0], [np.nan, np.nan]]), np.array([[3.0, 0.1], [0.0, 0.0]])]
    weights = [np.ones(2), np.ones(2)]
    (first, unknown), (second, silent) = link_speakers(comparable(means), weights, 0.3)
    assert first == second
    assert len({first, unknown, silent}) == 3
