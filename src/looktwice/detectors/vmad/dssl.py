"""DSSL (Defect-Sensitive Structure Learning): what looks alike to the eye shall be alike to the language model.

VMAD (arXiv 2409.20146) says: normal patches have many look-alikes among normal samples, defective ones few; the
similarities of patch embeddings to normal features are aligned with the similarities of the patches' tokens to a normal
semantic token. The numbers are our definition:

    p = unit(RoIAlign(f, cell))          of each valid cell, no gradient
    g = unit(mean p)                     of each normal picture
    n = mean of the last states of its answer before the mask token;  psi(n) = unit(W_psi n)
    t = last state at each image token;  phi(t) = unit(W_phi t)
    A_v = softmax(p . G / tau),  A_t = softmax(phi(t) . S / tau)  over the filled slots of the paired queues G, S
    loss = mean over valid cells of KL(A_v || A_t), or of -log sum of A_t over the slots nearest to p (InfoNCE)

A cell is the part of an image token's square that lies inside the picture; cells without such a part are not valid.
The queues are filled after the loss, with normal samples only, from all processes, in the order of their ranks. What is
queued is detached, so no gradient reaches W_psi: it stays the random projection it starts as, which keeps angles.

Letters: B pictures, P cells = image tokens, K slots, C channels, D width of the language model, h w size of f.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from looktwice.detectors.vmad.config import VmadConfig
from looktwice.errors import UsageError

STD = 0.02


class Dssl(nn.Module):
    """The two projections, the paired queues, and the loss L_pbsd."""

    w_psi: Tensor
    queue_v: Tensor
    queue_t: Tensor
    ptr: Tensor
    count: Tensor

    def __init__(self, config: VmadConfig) -> None:
        super().__init__()
        self.ready, self.temperature = config.dssl_ready, config.dssl_temperature
        self.form, self.top = config.pbsd, config.pbsd_top
        channels, width = config.visual_channels, config.text_config.hidden_size
        self.w_phi = nn.Parameter(torch.zeros(channels, width))
        self.register_buffer("w_psi", torch.zeros(channels, width))  # what is queued is detached: nothing trains it
        self.register_buffer("queue_v", torch.zeros(config.dssl_slots, channels))
        self.register_buffer("queue_t", torch.zeros(config.dssl_slots, channels))
        self.register_buffer("ptr", torch.zeros(1, dtype=torch.long))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """N(0, 0.02) projections, empty queues."""
        for weight in (self.w_phi, self.w_psi):
            nn.init.normal_(weight, std=STD)
        for buffer in (self.queue_v, self.queue_t, self.ptr, self.count):
            nn.init.zeros_(buffer)

    def forward(self, features: Tensor, cells: Tensor, tokens: Tensor, semantic: Tensor, normal: Tensor) -> Tensor:
        """Return L_pbsd, a scalar in float32, and take in the normal pictures of this batch when training.

        features: (B, C, h, w) of the visual backbone; cells: (B, P, 4) x0, y0, x1, y1 in cells of `features`, of no
        area where not valid; tokens: (B, P, D) last states at the image tokens; semantic: (B, D) mean states of the
        answers; normal: (B,) bool, pictures whose semantic token counts. The loss is 0 until enough slots are filled.
        """
        with torch.autocast(features.device.type, enabled=False):
            patches = patch_embeddings(features.detach().float(), cells)
            words = F.normalize(F.linear(tokens.float(), self.w_phi.float()), dim=-1)
            loss = self.loss(patches, words, is_valid(cells))
            if self.training:
                meaning = F.normalize(F.linear(semantic.detach().float(), self.w_psi.float()), dim=-1)
                self.push(*gathered(normal_feature(patches)[normal], meaning[normal]))
        return loss

    def loss(self, patches: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Mean over the valid cells of how far the tokens' similarities are from the patches'; both (B, P, C) unit."""
        filled = int(self.count)
        if filled < self.ready or not valid.any():
            return tokens.sum() * 0.0  # every parameter takes part, as distributed training wants
        # copies: the queues change before the backward pass
        by_eye = patches[valid] @ self.queue_v[:filled].float().T / self.temperature  # (cells, K)
        by_word = tokens[valid] @ self.queue_t[:filled].float().clone().T / self.temperature
        return pbsd(by_eye, by_word, self.form, self.top)

    @torch.no_grad()
    def unlike(self, features: Tensor, cells: Tensor) -> Tensor:
        """(B, P) of 1 - the highest cosine of each cell to a queued normal feature, 0 where not valid: for diagnosis.

        Raises UsageError where nothing was queued.
        """
        filled = int(self.count)
        if not filled:
            raise UsageError("DSSL has seen no normal picture: its queues are empty until training fills them")
        patches = patch_embeddings(features.float(), cells)
        return (1 - (patches @ self.queue_v[:filled].float().T).amax(-1)) * is_valid(cells)

    @torch.no_grad()
    def push(self, visual: Tensor, semantic: Tensor) -> None:
        """Put (M, C) pairs into the queues, the oldest fall out; of more than K the last K stay."""
        slots = len(self.queue_v)
        visual, semantic = visual[-slots:], semantic[-slots:]
        at = (self.ptr + torch.arange(len(visual), device=self.ptr.device)) % slots
        self.queue_v[at] = visual.to(self.queue_v)
        self.queue_t[at] = semantic.to(self.queue_t)
        self.ptr.copy_((self.ptr + len(visual)) % slots)
        self.count.copy_((self.count + len(visual)).clamp(max=slots))


def pbsd(by_eye: Tensor, by_word: Tensor, form: str, top: int) -> Tensor:
    """L_pbsd of (cells, K) logits: KL(softmax(by_eye) || softmax(by_word)), or InfoNCE over the top of by_eye."""
    told = by_word.log_softmax(-1)
    if form == "kl":
        seen = by_eye.log_softmax(-1)
        return (seen.exp() * (seen - told)).sum(-1).mean()
    nearest = by_eye.topk(min(top, by_eye.shape[-1]), -1).indices
    return -told.gather(-1, nearest).logsumexp(-1).mean()


def is_valid(cells: Tensor) -> Tensor:
    """(..., 4) boxes -> (...) bool: which have an area."""
    return (cells[..., 2] > cells[..., 0]) & (cells[..., 3] > cells[..., 1])


def patch_embeddings(features: Tensor, cells: Tensor) -> Tensor:
    """(B, C, h, w) and boxes (B, P, 4) -> unit vectors (B, P, C), zeros where a box has no area."""
    pooled = roi_align(features, cells)
    return F.normalize(pooled, dim=-1) * is_valid(cells)[..., None]


def normal_feature(patches: Tensor) -> Tensor:
    """(B, P, C) -> (B, C): unit mean over the valid cells; the zeros of the others add nothing to it."""
    return F.normalize(patches.sum(1), dim=-1)


def roi_align(features: Tensor, boxes: Tensor) -> Tensor:
    """RoIAlign to one bin: (B, C, h, w), (B, P, 4) x0, y0, x1, y1 in cells of `features` -> (B, P, C).

    As Mask R-CNN's (aligned, half-pixel centres): the mean of bilinear samples on an even grid, one for each started
    cell of each side. The mean of a product grid is a product of means, so rows and columns are weighed apart.
    """
    across = _sampling(boxes[..., 0], boxes[..., 2], features.shape[3])  # (B, P, w)
    down = _sampling(boxes[..., 1], boxes[..., 3], features.shape[2])  # (B, P, h)
    return torch.einsum("bchw,bph,bpw->bpc", features, down.to(features), across.to(features))


def _sampling(start: Tensor, stop: Tensor, cells: int) -> Tensor:
    """(B, P) intervals -> (B, P, cells) weights of the mean of their bilinear samples along one side."""
    length = stop - start
    many = length.ceil().clamp(min=1)
    step = torch.arange(max(1, int(many.max())) if many.numel() else 1, device=start.device)
    places = start[..., None] - 0.5 + (step + 0.5) * (length / many)[..., None]  # (B, P, samples)
    weigh = ((step < many[..., None]) & (places >= -1) & (places <= cells)) / many[..., None]
    places = places.clamp(0, cells - 1)
    weights = (1 - (places[..., None] - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
    return (weights * weigh[..., None]).sum(-2)


def gathered(*rows: Tensor) -> tuple[Tensor, ...]:
    """Rows (M, C) of all processes, in the order of ranks; M may differ between processes, also be 0."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    mine = torch.tensor([len(rows[0])], device=rows[0].device)
    counts = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, mine)
    many = [int(count) for count in counts]
    return tuple(_gather(one, many) for one in rows)


def _gather(rows: Tensor, counts: list[int]) -> Tensor:
    padded = F.pad(rows, (0, 0, 0, max(counts) - len(rows)))
    everyone = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(everyone, padded.contiguous())
    return torch.cat([one[:many] for one, many in zip(everyone, counts, strict=True)])
