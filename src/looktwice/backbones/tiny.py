"""Networks and tokenizers small enough for tests, of the same classes as the large ones. Made from a seed, offline."""

from __future__ import annotations

from typing import TypeVar

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    SamModel,
)

from looktwice.backbones import clip, sam

Net = TypeVar("Net", bound=torch.nn.Module)


def fill(module: Net, seed: int = 0, scale: float = 0.3) -> Net:
    """Draw every weight anew from the seed, in eval mode: zeros of a fresh network would hide mistakes."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(module.named_parameters()):
            weight.copy_(torch.randn(weight.shape, generator=source) * scale)
    return module.eval()


def tiny_sam(seed: int = 0, side: int = 64) -> SamModel:
    """SAM of three narrow blocks, two of them windowed; its grid of 4 is no multiple of the window, as in vit_h."""
    size = sam.SamSize(width=32, depth=3, heads=2, global_blocks=(2,))
    config = sam.sam_config(size, side, window=3, channels=32, decoder_heads=2, decoder_mlp=64)
    return fill(SamModel(config), seed)


def tiny_vision(seed: int = 0, side: int = 56) -> CLIPVisionModel:
    """CLIP tower of four narrow blocks and a 4 x 4 grid."""
    return fill(clip.build_vision(clip.ClipSize(side, 14, 32, 4, 2, 16)), seed)


def tiny_llama(seed: int = 0, vocabulary: int = 400, tied: bool = False) -> LlamaForCausalLM:
    """Llama of two narrow blocks."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
    )
    return fill(LlamaForCausalLM(config), seed, 0.1)


def tiny_tokenizer(style: str = "llama") -> PreTrainedTokenizerBase:
    """One token per letter, with spaces and special tokens treated as a known tokenizer does.

    "llama" puts a space before each text, also before one that follows a special token (Llama's `legacy`, Vicuna 1.1);
    "llama_new" only before the first (Vicuna 1.5 as LLaVA 1.5 was trained); "qwen" never (Qwen2).
    """
    return {"llama": _like_llama, "llama_new": _like_new_llama, "qwen": _like_qwen}[style]()


def _like_llama() -> PreTrainedTokenizerBase:
    made = _llama_letters()
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _wrapped(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def _like_new_llama() -> PreTrainedTokenizerBase:
    made = _llama_letters()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    whole = _wrapped(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")
    whole.legacy = False
    return whole


def _llama_letters() -> Tokenizer:
    letters = ["▁", "\n", *map(chr, range(33, 127))]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), *letters]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True))
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names[:3]])
    return made


def _like_qwen() -> PreTrainedTokenizerBase:
    names = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    marks = ["<|im_start|>", "<|im_end|>"]
    return _wrapped(made, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=marks)


def _wrapped(made: Tokenizer, **names: str | list[str]) -> PreTrainedTokenizerBase:
    whole: PreTrainedTokenizerBase = PreTrainedTokenizerFast(tokenizer_object=made, **names)
    return whole
