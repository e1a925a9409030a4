"""VMAD: its token compression, what it saves the language model, memory of a training step, and dialogues.

    python benchmarks/vmad.py

LTC at the published width (1024, grid 16 and 24, factor 2) against two plain versions of the same arithmetic with the
same weights: one attention per region, and all regions cut out before torch's own attention, as TokenPacker does. Bytes
are what the operations of one pass allocate. Prefill, memory and dialogue are measured on a model of middle size with
random weights, since what they compare does not depend on the weights. A step's memory is the peak of its own process
above the model.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from looktwice.backbones.clip import ClipSize, vision_config
from looktwice.backbones.sam import SamSize, sam_config
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.detector import FittedVmad, VmadOptions
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.processing import VmadProcessor, collate, join, small_tokenizer
from looktwice.detectors.vmad.projector import Ltc
from looktwice.records import Spec, ToPixels, Views

ROUNDS = 3
QUESTION = "Is there any anomaly on the surface of the part? Please output the segmentation mask."
FOLLOW_UP = "What is the reason?"
WORDS = [QUESTION, FOLLOW_UP, "A chat between a curious human and an artificial intelligence assistant."]


def fastest(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


class Allocated(TorchDispatchMode):
    """Bytes of new storages that operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        out = func(*args, **(kwargs or {}))
        old = {one.untyped_storage().data_ptr() for one in args if isinstance(one, Tensor)}
        for one in out if isinstance(out, tuple) else (out,):
            if isinstance(one, Tensor) and one.untyped_storage().data_ptr() not in old:
                self.bytes += one.untyped_storage().nbytes()
        return out


def allocated(work: Callable[[], object]) -> int:
    with Allocated() as count:
        work()
    return count.bytes


# ---------------------------------------------------------------- token compression


def projected(ltc: Ltc, coarse: Tensor, layers: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, P, C), keys and values (B, N, C)."""
    g, fine = round(coarse.shape[1] ** 0.5), torch.cat(layers, -1)
    plane = coarse.view(len(coarse), g, g, -1).permute(0, 3, 1, 2)
    pooled = F.interpolate(plane, scale_factor=1 / ltc.factor, mode="bilinear").flatten(2).transpose(1, 2)
    return ltc.ln_q_1(ltc.q_proj_1(pooled)), ltc.ln_k_1(ltc.k_proj_1(fine)), ltc.ln_v_1(ltc.v_proj_1(fine))


def region_by_region(ltc: Ltc, coarse: Tensor, fine: list[Tensor]) -> Tensor:
    """One attention per token."""
    query, key, value = projected(ltc, coarse, fine)
    g, s = round(coarse.shape[1] ** 0.5), ltc.factor
    keys, values = (one.view(len(one), g, g, -1) for one in (key, value))
    found = []
    for token in range(query.shape[1]):
        y, x = divmod(token, g // s)
        k, v = (
            one[:, y * s : (y + 1) * s, x * s : (x + 1) * s].flatten(1, 2).transpose(0, 1) for one in (keys, values)
        )
        found.append(ltc.clip_attn(query[:, token][None], k, v)[0][0])
    return ltc.mlp(torch.stack(found, 1))


def cut_first(ltc: Ltc, coarse: Tensor, fine: list[Tensor]) -> Tensor:
    """All regions cut out and copied, then torch's own attention over them as one batch."""
    query, key, value = projected(ltc, coarse, fine)
    g, s, width = round(coarse.shape[1] ** 0.5), ltc.factor, coarse.shape[-1]

    def regions(one: Tensor) -> Tensor:
        split = one.view(-1, g // s, s, g // s, s, width).permute(2, 4, 1, 3, 0, 5)
        return split.reshape(s * s, -1, width)

    out = ltc.clip_attn(query.transpose(0, 1).reshape(1, -1, width), regions(key), regions(value))[0]
    return ltc.mlp(out.view(query.shape[1], len(query), width).transpose(0, 1))


def compression(grid: int, batch: int = 2) -> None:
    torch.manual_seed(0)
    ltc = Ltc(1024, 1024).eval()
    coarse, *fine = (torch.randn(batch, grid * grid, 1024) for _ in range(5))
    ways = {"LTC": ltc, "one region after the other": region_by_region, "regions cut first": cut_first}
    calls = {
        name: (lambda way=way: way(coarse, fine) if way is ltc else way(ltc, coarse, fine))
        for name, way in ways.items()
    }
    with torch.no_grad():
        wanted = calls["LTC"]()
        apart = max(float((call() - wanted).abs().max()) for call in calls.values())
        times = {name: fastest(call) for name, call in calls.items()}
        sizes = {name: allocated(call) for name, call in calls.items()}
    print(f"LTC, grid {grid}, {batch} pictures, all agree to {apart:.0e}:")
    for name in calls:
        faster = times[name] / times["LTC"]
        print(f"  {name}: {1000 * times[name]:.0f} ms ({faster:.2f} x), {sizes[name] / 2**20:.0f} MiB allocated")


# ---------------------------------------------------------------- a model of middle size


def middle(**changes: Any) -> tuple[VmadModel, VmadProcessor]:
    """Random weights; 24 x 24 patches as CLIP at 336 pixels, a language model of eight layers."""
    text = {
        "model_type": "llama",
        "vocab_size": 1024,
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "max_position_embeddings": 2048,
    }
    base = {
        "vision_config": vision_config(ClipSize(336, 14, 512, 8, 8, 64)),
        "text_config": text,
        "visual_config": sam_config(
            SamSize(64, 2, 4, (1,)), 128, patch=8, window=4, channels=64, decoder_heads=4, decoder_mlp=256
        ),
        "visual_backbone": "conv",
        "conv_widths": (16, 32, 64),
        "train": "all",
    }
    config = VmadConfig(**{**base, **changes})
    tokenizer = small_tokenizer(WORDS, 600)
    join(config, tokenizer)
    torch.manual_seed(0)
    return VmadModel(config), VmadProcessor(config, tokenizer)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (256, 256, 3)).astype(np.uint8)


def prefill() -> None:
    with torch.inference_mode():
        found = {}
        for name in ("linear", "ltc"):
            model, processor = middle(projector=name, dssl=False)
            ids = processor.question_ids(QUESTION)[None]
            tokens = model.eval().encode_image(processor.frame(picture(0)).clip[None])
            found[name] = tokens.shape[1], ids.shape[1], fastest(lambda m=model, i=ids, t=tokens: m.prompt(i, t))
    (many, whole, slow), (few, short, fast) = found["linear"], found["ltc"]
    print(
        f"Tokens of a picture: LLaVA's projector {many}, LTC {few} ({many / few:.0f} x fewer); prefill of the whole "
        f"prompt ({whole} and {short} tokens): {1000 * slow:.0f} ms and {1000 * fast:.0f} ms ({slow / fast:.1f} x)"
    )


def step(checkpointing: bool) -> None:
    """One training step, in a process of its own; prints its peak above the model, MiB, and its seconds."""
    model, processor = middle(projector="linear")
    turns = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": "Yes. <seg>"}]
    mask = np.ones((256, 256), bool)
    records = [
        {"id": i, "image": picture(i), "mask": mask, "anomalous": True, "conversations": turns} for i in range(2)
    ]
    batch = collate(records, processor)
    if checkpointing:
        model.activation_checkpointing_enable()
    for weight in model.train().parameters():
        weight.grad = torch.zeros_like(weight)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    model(batch).loss.backward()
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit, time.perf_counter() - start)


def memory() -> None:
    found = {}
    for name in ("plain", "checkpointing"):
        run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        found[name] = [float(one) for one in run.stdout.split()[-2:]]
    (plain, plain_s), (saved, saved_s) = found["plain"], found["checkpointing"]
    print(
        f"Training step, 2 pictures of 576 tokens: peak {plain:.0f} MiB above the model in {plain_s:.1f} s; with "
        f"gradient checkpointing {saved:.0f} MiB ({plain / max(saved, 1):.1f} x less) in {saved_s:.1f} s"
    )


def dialogue() -> None:
    model, processor = middle(projector="linear", dssl=False)
    judge = FittedVmad(VmadOptions(max_new_tokens=4), model.eval(), processor, Spec(), None)
    judge.stop = set()  # answers of equal length
    image = picture(0)
    views = Views(images=image[None], names=("image",), way=ToPixels(size=image.shape[:2]))

    def afresh() -> str:
        return judge.look(views).ask(FOLLOW_UP)

    seen = judge.look(views)
    seen.ask(QUESTION)
    slow, fast = fastest(afresh), fastest(lambda: seen.ask(FOLLOW_UP))
    print(
        f"Dialogue, answers of 4 tokens: asked afresh {1000 * slow:.0f} ms, as a follow-up {1000 * fast:.0f} ms "
        f"({slow / fast:.1f} x faster)"
    )


def main() -> None:
    print(f"{torch.get_num_threads()} threads; best of {ROUNDS}; float32")
    compression(16)
    compression(24)
    prefill()
    dialogue()
    memory()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        step(sys.argv[1] == "checkpointing")
    else:
        main()
