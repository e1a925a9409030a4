"""A VMAD of a few thousand weights with its tokenizer, from a seed."""

import numpy as np
import torch

from looktwice.backbones.clip import ClipSize, vision_config
from looktwice.backbones.sam import SamSize, sam_config
from looktwice.backbones.tiny import fill, tiny_tokenizer
from looktwice.detectors.vmad import prompts
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.processing import VmadProcessor, join, small_tokenizer

torch.set_num_threads(1)
SIDE = 64  # of the visual square
LETTERS = "A chat between a curious human and an artificial intelligence assistant. USER: ASSISTANT:"
QUESTION = {"from": "human", "value": "<image>\nIs there any anomaly?"}


def small_config(**changes):
    text = {
        "model_type": "llama",
        "vocab_size": 300,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 1024,
    }
    visual = SamSize(width=32, depth=2, heads=2, global_blocks=(1,))
    base = {
        "vision_config": vision_config(ClipSize(28, 7, 32, 4, 2, 16)),
        "text_config": text,
        "visual_config": sam_config(visual, SIDE, window=3, channels=16, decoder_heads=2, decoder_mlp=32),
        "ltc_heads": 4,
        "dssl_slots": 8,
        "dssl_ready": 2,
    }
    return VmadConfig(**{**base, **changes})


def words():
    asked = [question.format(object="plate") for pool in prompts.QUESTIONS.values() for question in pool]
    return [LETTERS, prompts.YES, prompts.NO, *asked]


def small(seed=0, letters=False, **changes):
    """Model and processor; `letters`: a tokenizer like Llama's instead of one learnt from words."""
    config = small_config(**changes)
    tokenizer = tiny_tokenizer() if letters else small_tokenizer(words(), 500)
    join(config, tokenizer)
    torch.manual_seed(seed)
    model = fill(VmadModel(config), seed, 0.15)
    return model, VmadProcessor(config, tokenizer)


def picture(height=40, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def record(seed=0, anomalous=True, answer="Yes, there is an anomaly. <seg>", size=(40, 64), **changes):
    mask = np.zeros(size, bool)
    mask[5:20, 10:30] = anomalous
    base = {
        "id": f"made/{seed}",
        "image": picture(*size, seed),
        "mask": mask,
        "anomalous": anomalous,
        "conversations": [QUESTION, {"from": "gpt", "value": answer}],
    }
    return {**base, **changes}


def normal_record(seed=0, **changes):
    return record(seed, anomalous=False, answer="No, there is no anomaly. <seg>", **changes)
