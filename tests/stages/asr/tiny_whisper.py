"""A Whisper of a few thousand weights, converted to CTranslate2 on the spot: no hub, no download.

It has the vocabulary layout of the multilingual models, so that languages, timestamps and special
tokens take the real paths. What it says is noise.
"""

from pathlib import Path

_LANGUAGE_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th "
    "ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr "
    "pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt "
    "haw ln ha ba jw su"
)
LANGUAGES = _LANGUAGE_CODES.split()
_NUM_TEXT_TOKENS = 50_257
_NUM_TIMESTAMPS = 1_501
_SPECIAL = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")


def build_tiny_whisper(folder: Path, *, num_mels: int = 80, seed: int = 0) -> Path:
    """Folder with model.bin, config.json, vocabulary.json and tokenizer.json."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Words with a space in front and Chinese characters, each a token of its own.
    words = [f"Ġ{a}{b}{c}" for a in "bcdfgklmnpr" for b in "aeiou" for c in letters if c.isalpha()]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    chinese = [byte_level.pre_tokenize_str(chr(0x4E00 + n))[0][0] for n in range(3000)]
    text = list(dict.fromkeys([*letters, *words, *chinese]))
    text += [f"Ġ#{n}" for n in range(_NUM_TEXT_TOKENS - len(text) - 1)]
    text.append("")  # CTranslate2 knows the multilingual vocabulary by this token
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(text)}, merges=[]))
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *LANGUAGES, *_SPECIAL]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])

    eot = _NUM_TEXT_TOKENS
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=_NUM_TEXT_TOKENS + len(names) + _NUM_TIMESTAMPS,
        num_mel_bins=num_mels,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=1500,
        max_target_positions=448,
        pad_token_id=eot,
        bos_token_id=eot,
        eos_token_id=eot,
        decoder_start_token_id=eot + 1,
        init_std=0.7,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[eot],
        alignment_heads=[[1, 0], [1, 1]],
        lang_to_id={f"<|{code}|>": eot + 2 + n for n, code in enumerate(LANGUAGES)},
        bos_token_id=eot,
        eos_token_id=eot,
        pad_token_id=eot,
        decoder_start_token_id=eot + 1,
    )
    source = folder / "transformers"
    model.save_pretrained(source)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(source)
    converted = folder / "ctranslate2"
    TransformersConverter(str(source)).convert(str(converted))
    tokenizer.save(str(converted / "tokenizer.json"))
    return converted
