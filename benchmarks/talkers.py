"""Parts per second of a local chat model that encodes what all parts share once, beside plain `generate` per part.

The model is random, narrow and deep: LLaVA-1.5 in small. The sheet holds a task, rules and four references; each part
adds its picture and a question, and is answered in a few tokens. Answers are compared token for token; where they
differ, the run fails. One thread, so that the figures mean the same on a busy machine; the three ways take turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaForConditionalGeneration, LlavaProcessor

from looktwice.talkers.hf import Local
from looktwice.talkers.protocol import Asking, Picture, Reply, Turn

sys.path.append(str(Path(__file__).parents[1] / "tests" / "talkers"))
from tiny_hf import build, quietly, tokenizer_of

ROUNDS = 2
BATCH = 8  # parts of a round
REFERENCES = 4
TOKENS = 6  # of an answer
LAYERS, WIDTH, VISION = 16, 384, 64
SIDE, PATCH = 84, 14  # pixels: 36 tokens
RULES = 10 * [
    "the bolt is tight",
    "no dents",
    "no scratch",
    "the second picture is normal",
    "the part is where the first picture shows it",
    "no defect on the bolt",
    "all that the first picture shows is there",
    "the part is not turned",
]
TARGETS = {"shared start, one part at a time": 4.0, f"shared start, {BATCH} parts at once": 1.5}
Answers = list[list[int]]


def picture(seed: int, label: str) -> Picture:
    """Colours that run into each other, another set for each seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return Picture(pixels, label)


def dialogue(part: int) -> list[Turn]:
    rules = "\n".join(f"Rule {i}: {rule}." for i, rule in enumerate(RULES, 1))
    references = [picture(900 + i, f"reference {i}") for i in range(REFERENCES)]
    return [
        Turn("system", (f"Look at the part. Describe what you see. Where is the defect?\n{rules}\n",)),
        Turn("user", (*references, picture(part, f"part {part}"), "Does the part have a scratch? Answer Yes or No.")),
    ]


def plain(folder: Path) -> Callable[[list[list[Turn]]], Answers]:
    """One `generate` per part, with transformers' own processor."""
    model = quietly(LlavaForConditionalGeneration.from_pretrained, folder)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil.from_pretrained(folder),
        tokenizer=tokenizer_of("llava"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )

    def answer(turns: list[Turn]) -> list[int]:
        system, user = turns
        pictures = [Image.fromarray(part.pixels) for part in user.parts if isinstance(part, Picture)]
        text = f"{system.parts[0]} USER: " + "<image>\n" * len(pictures) + f"{user.parts[-1]} ASSISTANT:"
        inputs = processor(text=text, images=pictures, return_tensors="pt")
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        return list(made[0, inputs["input_ids"].shape[1] :].tolist())

    return lambda dialogues: [answer(turns) for turns in dialogues]


def ours(folder: Path, batch: int) -> Callable[[list[list[Turn]]], Answers]:
    """`batch` parts at once, by a model that has seen nothing before the first round."""
    talker = Local(str(folder), batch=batch)
    talker.tokenizer.decode = lambda tokens, **_: " ".join(map(str, tokens))

    def answer(dialogues: list[list[Turn]]) -> Answers:
        replies = [
            reply
            for at in range(0, len(dialogues), batch)
            for reply in talker.chat(dialogues[at : at + batch], Asking(max_tokens=TOKENS))
        ]
        return [[int(token) for token in reply.text.split()] for reply in replies if isinstance(reply, Reply)]

    return answer


def main() -> int:
    """Print the figures; 1 where answers differ."""
    torch.set_num_threads(1)
    text = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_key_value_heads": 4}
    vision = {"hidden_size": VISION, "intermediate_size": 2 * VISION, "image_size": SIDE, "patch_size": PATCH}
    seconds: Counter[str] = Counter()
    answers: dict[str, Answers] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = build(
            "llava",
            Path(name),
            layers=LAYERS,
            text={**text, "max_position_embeddings": 4096},
            vision={**vision, "num_hidden_layers": 8},
        )
        ways = dict(
            zip(("plain generate", *TARGETS), (plain(folder), ours(folder, 1), ours(folder, BATCH)), strict=True)
        )
        for turn in range(ROUNDS):
            dialogues = [dialogue(part) for part in range(turn * BATCH, turn * BATCH + BATCH)]
            for way, ask in ways.items():
                start = time.perf_counter()
                answers[way] += ask(dialogues)
                seconds[way] += time.perf_counter() - start
    before = None
    for way, took in seconds.items():
        gain = f"{before / took:6.1f} x the line above, wanted {TARGETS[way]:.1f} x" if before else ""
        print(f"{way:34}{ROUNDS * BATCH / took:8.2f} parts/s{gain}")
        before = took
    kinds = len(set(map(tuple, answers["plain generate"])))
    alike = all(said == answers["plain generate"] for said in answers.values())
    print(
        f"{ROUNDS * BATCH} answers, {kinds} of them different: {'the same' if alike else 'NOT the same'} in all three"
    )
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main())
