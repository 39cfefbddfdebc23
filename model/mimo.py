"""MiMo-Audio's language model: text ids and audio codes in, text logits and audio patches out.

Names under which the released checkpoints keep the parts: `input_local_transformer` is the patch
encoder, `model` the backbone, `local_transformer` the patch decoder.
"""

# Shapes: B rows, C audio channels (8), T frames, G frames of a group (4), P = T/G positions (one
# group each), D width of the backbone, V text ids, N patches.

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.backbone import Backbone, Transformer
from model.cache import KVCache
from model.checkpoint import (
    CONFIG_NAME,
    SHARD_BYTES,
    WeightLayout,
    load_weights,
    save_weights,
    write_json,
)
from model.config_keys import OWN_KEY, unread_keys
from model.documents import Documents
from model.linear import Embedding, Linear
from model.patch_decoder import PatchParts, PatchSteps, teacher_forced_logits
from model.patch_encoder import PatchEncoder, embed_codes
from model.prompt_ids import check_context, split_ids
from model.spec import ModelSpec, read_model_config
from model.special_tokens import SpecialTokens
from schemas.errors import ModelError


class ModelOutput(NamedTuple):
    """What `forward` gives for every position."""

    text_logits: Tensor
    """`[B, P, V]`: of the text id of the next position."""
    hidden: Tensor
    """`[B, P, D]`, normed: of the next position's patch, for `patch_logits` or `patch_steps`."""


class MiMoAudio(nn.Module):
    """All parameters. `state_dict()` has the published keys and no others.

    Input ids are `[B, 1 + C, T]`, T a multiple of G. Row 0 is text, rows 1..C are the audio
    channels. A group of G frames is one position of the backbone: a text position has its id in row
    0 at the group's first frame; an audio position has the id `<|empty|>` there and G frames of
    codes in the other rows. Cells not named here are never read.

    Making one is cheap at any size: parameters are memory that nobody has written to.
    """

    def __init__(self, spec: ModelSpec, special_tokens: SpecialTokens) -> None:
        super().__init__()
        special_tokens.check_within(spec.vocab_size)
        self.spec = spec
        self.special_tokens = special_tokens
        self.audio_tokenizer: str | None = None
        """Fingerprint of the tokenizer whose codes it was trained on; None where nobody noted it.
        `save_pretrained` keeps it."""
        self._layout: WeightLayout | None = None
        self._unread: dict[str, object] = {}
        shared = {"rope_theta": spec.rope_theta, "norm_eps": spec.norm_eps}
        width, local, embedded = (
            spec.backbone.width,
            spec.patch_decoder.width,
            spec.patch_encoder.width,
        )
        self.model = Backbone(spec.backbone, vocab_size=spec.vocab_size, **shared)
        self.lm_head = Linear(width, spec.vocab_size, bias=False)
        self.input_local_transformer = PatchEncoder(spec.patch_encoder, **shared)
        self.local_transformer = Transformer(spec.patch_decoder, **shared)
        self.speech_embeddings = nn.ModuleList(
            Embedding(size, embedded) for size in spec.channel_sizes
        )
        self.local_transformer_lm_heads = nn.ModuleList(
            Linear(local, size, bias=False) for size in spec.channel_sizes
        )
        self.speech_group_downcast = Linear(spec.group_size * embedded, width, bias=False)
        self.hidden_states_downcast = Linear(width, local, bias=False)
        if embedded != local:
            self.speech_embeddings_to_local = Linear(embedded, local, bias=False)

    @classmethod
    def without_storage(cls, spec: ModelSpec, special_tokens: SpecialTokens) -> "MiMoAudio":
        """Names, shapes and counts of any size of model, on the meta device."""
        with torch.device("meta"):
            return cls(spec, special_tokens)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        special_tokens: SpecialTokens | Mapping[str, int] | None = None,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ) -> "MiMoAudio":
        """The model of a folder: `config.json` and `model.safetensors` or shards with an index.

        `special_tokens` may be a mapping of written forms (`{"<|empty|>": 151667, ...}`). If None,
        the ids are those of the folder's `tokenizer.json`, else those that `save_pretrained` noted.
        `dtype` None keeps the stored one. The weights exist once; the model is in eval mode. Raises
        `ModelError` for a key that is missing, unknown or misshapen, and for a missing token.
        """
        folder = Path(folder)
        if dtype is not None and not dtype.is_floating_point:
            raise ModelError(f"dtype is {dtype}, wanted bfloat16, float16, float32 or float64")
        config = read_model_config(folder / CONFIG_NAME)
        spec = ModelSpec.from_config(config, where=str(folder / CONFIG_NAME))
        noted = config.get(OWN_KEY)
        noted = noted if isinstance(noted, dict) else {}
        if special_tokens is None:
            special_tokens = SpecialTokens.of_model(folder, noted.get("special_tokens"))
        elif not isinstance(special_tokens, SpecialTokens):
            special_tokens = SpecialTokens.from_mapping(special_tokens)
        model = cls.without_storage(spec, special_tokens)
        model.audio_tokenizer = noted.get("audio_tokenizer")
        model._unread = unread_keys(config)
        model._layout = load_weights(model, folder, torch.device(device), dtype)
        return model.requires_grad_(True).eval()

    def save_pretrained(self, folder: str | Path, *, shard_bytes: int | None = None) -> None:
        """Write the folder that `from_pretrained` opens, in the published layout.

        A model that came from a folder goes back into the same files; `shard_bytes` divides it anew
        (5 GB for any other model). The special ids are noted in `config.json`; the text tokenizer's
        files are not the model's, so copy them beside it.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        dtype = str(self.dtype).removeprefix("torch.")
        noted: dict[str, object] = {"special_tokens": self.special_tokens.to_mapping()}
        if self.audio_tokenizer is not None:
            noted["audio_tokenizer"] = self.audio_tokenizer
        config = {**self.spec.to_config(), **self._unread, "torch_dtype": dtype, OWN_KEY: noted}
        write_json(folder / CONFIG_NAME, config)
        layout = self._layout if shard_bytes is None else None
        save_weights(self, folder, layout, shard_bytes or SHARD_BYTES)

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    def forward(self, input_ids: Tensor) -> ModelOutput:
        """Logits and hidden states of every position of `input_ids` `[B, 1 + C, T]`.

        Row b of the result does not depend on what stands behind a position: rows padded on the
        right with any valid ids (zeros are) need no mask.
        """
        check_context(input_ids.shape[-1] // self.spec.group_size, self.spec)
        hidden_BPD = self.model(self.embed(input_ids))
        return ModelOutput(text_logits=self.lm_head(hidden_BPD), hidden=hidden_BPD)

    def embed(self, input_ids: Tensor) -> Tensor:
        """What the backbone gets, `[B, P, D]`.

        A text position is its text embedding alone, an audio position (`<|empty|>`) its encoded
        patch alone. Ids are checked.
        """
        text_BP, codes_BPGC = split_ids(input_ids, self.spec, self.special_tokens.empty)
        embedded_ND = self._embed_rows(text_BP.flatten(), codes_BPGC.flatten(0, 1))
        return embedded_ND.unflatten(0, text_BP.shape)

    def _embed_rows(
        self,
        text_N: Tensor,
        codes_NGC: Tensor,
        speaking: Tensor | None = None,
        *,
        generating: bool = False,
    ) -> Tensor:
        """The same of single positions, `[N, D]`; `speaking` are the audio ones, if known."""
        embedded_ND: Tensor = self.model.embed_tokens(text_N)
        if speaking is None:
            speaking = (text_N == self.special_tokens.empty).nonzero().squeeze(-1)
        if not len(speaking):
            return embedded_ND
        frames = embed_codes(self.speech_embeddings, codes_NGC[speaking], self.spec.empty_codes)
        patches = self.input_local_transformer.encode(frames, generating=generating)
        downcast = self.speech_group_downcast
        audio_ND = downcast.of_rows(patches) if generating else downcast(patches)
        return embedded_ND.index_copy(0, speaking, audio_ND)

    def new_cache(self, batch_size: int, capacity: int) -> KVCache:
        """An empty cache for `prefill` and `step`: room for `capacity` groups in each row.

        Prompt and generated groups count. Raises `ModelError` beyond the context.
        """
        check_context(capacity, self.spec)
        return KVCache(
            self.spec.backbone,
            batch_size=batch_size,
            capacity=capacity,
            device=self.device,
            dtype=self.dtype,
        )

    @torch.no_grad()
    def prefill(
        self, input_ids: Tensor, lengths: Sequence[int] | None, cache: KVCache
    ) -> tuple[Tensor, Tensor]:
        """Read prompts into the cache: text logits `[B, V]` and hidden states `[B, D]`.

        `input_ids` is `[B, 1 + C, T]` (see the class), shorter rows padded on the right with
        anything (`pad_prompts` does it); `lengths` are each row's groups (not frames), None where
        all have T/G. Both results are of each row's last group: the logits are of the next group's
        text id, and if that becomes `<|empty|>`, its patch comes from the same hidden state by
        `patch_steps(B).start(hidden)`. The groups follow what each row already has in the cache, so
        a long prompt or the next turn of a dialogue can be read in parts.
        """
        if input_ids.shape[0] != cache.batch_size:
            raise ModelError(f"{input_ids.shape[0]} prompts for a cache of {cache.batch_size} rows")
        text_BP, codes_BPGC = split_ids(input_ids, self.spec, self.special_tokens.empty, lengths)
        num_groups = text_BP.shape[1]
        counts = tuple(lengths) if lengths is not None else (num_groups,) * cache.batch_size
        documents = Documents(counts)
        # Rows of unequal lengths side by side: padding would be computed like anything else.
        ends_B = torch.tensor(counts, device=text_BP.device)
        kept_BP = torch.arange(num_groups, device=text_BP.device) < ends_B.unsqueeze(1)
        embedded_ND = self._embed_rows(text_BP[kept_BP], codes_BPGC[kept_BP], generating=True)
        hidden_ND = self.model(embedded_ND.unsqueeze(0), cache, documents=documents).squeeze(0)
        hidden_BD = hidden_ND[ends_B.cumsum(0) - 1]
        cache.advance(counts)
        return self.lm_head.of_rows(hidden_BD), hidden_BD

    @torch.no_grad()
    def step(
        self,
        text_B: Tensor,
        codes_BGC: Tensor,
        cache: KVCache,
        speaking: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Append one group to every row: the same results as `prefill` for the position after it.

        `text_B` are the chosen text ids. `codes_BGC` are the patches, G frames of C channels; read
        only in rows whose text id is `<|empty|>`. These are `speaking`, if the caller knows them;
        to find them waits for the device. Ids are not checked: they come from this model's own
        logits. A row that is done goes on with the others (any text id will do) and its results are
        left aside.
        """
        known = None if speaking is None else torch.tensor(speaking, device=text_B.device)
        embedded_BD = self._embed_rows(text_B, codes_BGC, known, generating=True)
        hidden_BD = self.model(embedded_BD.unsqueeze(1), cache).squeeze(1)
        cache.advance([1] * cache.batch_size)
        return self.lm_head.of_rows(hidden_BD), hidden_BD

    def patch_logits(self, hidden_ND: Tensor, codes_NGC: Tensor) -> list[Tensor]:
        """Logits of N known patches, for each channel `[N, G, V_c]`; with gradients.

        `hidden_ND` is the hidden state of the position before each patch. See
        `patch_decoder.teacher_forced_logits`.
        """
        local_ND = self.hidden_states_downcast(hidden_ND)
        return teacher_forced_logits(self._patch_parts, local_ND, codes_NGC)

    def patch_steps(self, batch_size: int) -> PatchSteps:
        """Patches for `batch_size` rows, chosen token by token; reusable from group to group."""
        return PatchSteps(self._patch_parts, self.hidden_states_downcast, batch_size)

    @property
    def _patch_parts(self) -> PatchParts:
        return PatchParts(
            spec=self.spec,
            transformer=self.local_transformer,
            heads=tuple(_linears(self.local_transformer_lm_heads)),
            tables=self.speech_embeddings,
            to_local=getattr(self, "speech_embeddings_to_local", None),
        )


def _linears(modules: nn.ModuleList) -> Iterator[Linear]:
    for module in modules:
        if isinstance(module, Linear):
            yield module
