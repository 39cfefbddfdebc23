"""`tokenizer/training/batches.py`: what a step trains on."""

from collections import Counter

import pytest
import torch

from schemas.errors import TrainingError
from tests.tokenizer.training.conftest import NUM_CLIPS
from tokenizer.training.augment import Augment, AugmentSpec
from tokenizer.training.batches import Batch, Batches, held_out_clips, stream
from tokenizer.training.clips import ClipStore


def batches(store: ClipStore, **changes: object) -> Batches:
    settings: dict[str, object] = {
        "seed": 0,
        "clips_per_step": 4,
        "held_out": 2,
        "repeat": {},
        "max_clip_s": 2.0,
        "samples_per_frame": 960,
        "augment": None,
    }
    return Batches(store, **(settings | changes))  # type: ignore[arg-type]


def same(left: Batch, right: Batch) -> bool:
    return left.texts == right.texts and all(
        torch.equal(one, other) for one, other in zip(left.waveforms, right.waveforms, strict=True)
    )


def test_a_batch_is_a_function_of_seed_and_step(store: ClipStore) -> None:
    augment = Augment(AugmentSpec(), 24_000, ())
    one, other = (batches(store, augment=augment) for _ in range(2))
    assert same(one[7], other[7])
    assert same(one[2], other[2])
    assert not same(one[7], one[8])
    assert not same(one[7], batches(store, augment=augment, seed=1)[7])


def test_an_epoch_has_every_clip_once_and_no_held_out_one(store: ClipStore) -> None:
    made = batches(store, clips_per_step=2)
    steps = (NUM_CLIPS - 2) // 2
    texts = Counter(text for step in range(steps) for text in made[step].texts)
    held = {store.clips[index].text for index in held_out_clips(len(store), 2)}
    assert texts == {clip.text: 1 for clip in store.clips if clip.text not in held}
    again = [text for step in range(steps, 2 * steps) for text in made[step].texts]
    assert sorted(again, key=str) == sorted(texts, key=str)
    assert again != [text for step in range(steps) for text in made[step].texts]


def test_an_epoch_has_repeated_clips_as_often_as_asked(store: ClipStore) -> None:
    made = batches(store, repeat={"clip-1": 3, "clip-2*": 2}, held_out=1)
    names = Counter(store.clips[index].name for index in made.indices)
    assert names["clip-1"] == 3
    assert names["clip-20"] == 2
    assert names["clip-10"] == 1


def test_crops_are_whole_frames_and_lose_their_transcript(store: ClipStore) -> None:
    cropped = batches(store, max_clip_s=0.5)[0]
    assert cropped.texts == [None] * 4
    assert {waveform.shape[0] for waveform in cropped.waveforms} == {12_000 // 960 * 960}
    whole = batches(store)[0]
    assert None not in whole.texts
    assert {waveform.shape[0] % 960 for waveform in whole.waveforms} == {0}


def test_processes_share_a_step_out_without_overlap(store: ClipStore) -> None:
    alone = batches(store)[3]
    shares = [batches(store, rank=rank, world=2)[3] for rank in range(2)]
    joined = Batch(
        waveforms=[waveform for share in shares for waveform in share.waveforms],
        texts=[text for share in shares for text in share.texts],
    )
    assert same(alone, joined)
    with pytest.raises(TrainingError, match="clips_per_step is 4, wanted a multiple of the 3"):
        batches(store, world=3)


def test_batches_made_ahead_are_the_same(store: ClipStore) -> None:
    made = batches(store)
    ahead = list(stream(made, 5, 8, workers=1))
    assert len(ahead) == 3
    assert all(same(batch, made[5 + place]) for place, batch in enumerate(ahead))
