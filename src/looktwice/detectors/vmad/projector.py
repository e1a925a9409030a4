"""Image tokens: LTC (Locality-enhanced Token Compression), and LLaVA's own projectors, linear and mlp2x.

VMAD (arXiv 2409.20146) says of LTC that features of several tower layers are joined and that fine detail is injected
into coarse queries; the formula is our definition, in the form of TokenPacker (Li et al., arXiv 2407.02392), whose
published projectors load by name. Differs from TokenPacker's code: any grid (what the factor does not divide is padded
and masked), heads and widths by configuration, and a warm start that is LLaVA's projector on pooled features.

Letters: B pictures, g side of the patch grid, N = g * g patches, s factor, r = ceil(g / s), P = r * r tokens, C width of
the tower, L tower layers, D width of the language model, H heads, d = C / H.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looktwice.detectors.vmad.config import VmadConfig
from looktwice.errors import UsageError

STD = 0.02  # of linear weights, truncated normal, as TokenPacker
EPS = 1e-6  # of the layer norms, as TokenPacker


def build(config: VmadConfig) -> nn.Module:
    """Build the projector a configuration names; keys as published below `mm_projector.`."""
    width, out = config.vision_config.hidden_size, config.text_config.hidden_size
    if config.projector == "ltc":
        return Ltc(
            width,
            out,
            layers=len(config.ltc_layers),
            factor=config.ltc_factor,
            heads=config.ltc_heads,
            base=config.ltc_base if config.ltc_init == "warm" else None,
        )
    return plain(config.projector, width, out)


def plain(name: str, width: int, out: int) -> nn.Module:
    """LLaVA 1.1's Linear, or LLaVA 1.5's Linear, GELU, Linear."""
    if name == "linear":
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))


class Ltc(nn.Module):
    """One token of each s x s patches: a coarse query attends to the fine keys of its own region only.

    base: None for TokenPacker's form, T = MLP(o); "linear" or "mlp2x" for the warm form, T = LLaVA(Q + alpha * W o),
    which at alpha = 0 is LLaVA's projector on pooled features, exactly.
    """

    def __init__(
        self, width: int, out: int, *, layers: int = 4, factor: int = 2, heads: int = 8, base: str | None = None
    ) -> None:
        super().__init__()
        self.factor, self.heads = factor, heads
        self.q_proj_1 = nn.Linear(width, width, bias=False)
        self.k_proj_1 = nn.Sequential(nn.Linear(layers * width, width), nn.GELU(), nn.Linear(width, width))
        self.v_proj_1 = nn.Sequential(nn.Linear(layers * width, width), nn.GELU(), nn.Linear(width, width))
        self.ln_q_1, self.ln_k_1, self.ln_v_1 = (nn.LayerNorm(width, eps=EPS) for _ in range(3))
        self.clip_attn = nn.MultiheadAttention(width, heads)  # holds the weights; `_attend` does the work
        self.warm = base is not None
        if base is None:
            self.mlp = plain("mlp2x", width, out)
        else:
            self.inject = nn.Linear(width, width, bias=False)
            self.alpha = nn.Parameter(torch.zeros(1))
            self.base = plain(base, width, out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal weights, zero biases; the warm form's alpha is 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.clip_attn.in_proj_weight)  # torch's own, which TokenPacker keeps
        nn.init.zeros_(self.clip_attn.in_proj_bias)
        if self.warm:
            nn.init.zeros_(self.alpha)

    def forward(self, coarse: Tensor, fine: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Compress (B, N, C) patches of one layer and (B, N, L * C) of several to (B, P, D) tokens, row by row.

        grid: rows and columns of the patches; None for a square. Raises UsageError where N is not their product.
        """
        rows, columns = grid or (round(coarse.shape[1] ** 0.5),) * 2
        if rows * columns != coarse.shape[1] or fine.shape[1] != coarse.shape[1]:
            raise UsageError(
                f"LTC: {coarse.shape[1]} coarse and {fine.shape[1]} fine patches do not form a grid of {rows} x {columns}"
            )
        pooled = self._pool(coarse, rows, columns)  # (B, P, C)
        query = self.ln_q_1(self.q_proj_1(pooled))
        key, value = self.ln_k_1(self.k_proj_1(fine)), self.ln_v_1(self.v_proj_1(fine))
        detail = self._attend(query, key, value, rows, columns)  # (B, P, C)
        if self.warm:
            tokens: Tensor = self.base(pooled + self.alpha * self.inject(detail))
        else:
            tokens = self.mlp(detail)
        return tokens

    def _pool(self, coarse: Tensor, rows: int, columns: int) -> Tensor:
        """(B, N, C) -> (B, P, C): bilinear, in float32, one token in the middle of each region."""
        s = self.factor
        plane = coarse.unflatten(1, (rows, columns)).permute(0, 3, 1, 2).float()  # (B, C, g, g)
        plane = F.pad(plane, (0, -columns % s, 0, -rows % s), mode="replicate")
        size = (plane.shape[2] // s, plane.shape[3] // s)
        return F.interpolate(plane, size=size, mode="bilinear").flatten(2).transpose(1, 2).to(coarse.dtype)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, rows: int, columns: int) -> Tensor:
        """Multi-head attention of each (B, P, C) query to the s * s keys of its region; all regions at once."""
        weight, bias = self.clip_attn.in_proj_weight, self.clip_attn.in_proj_bias
        (wq, wk, wv), (bq, bk, bv) = weight.chunk(3), bias.chunk(3)
        q = F.linear(query, wq, bq).reshape(-1, self.heads, 1, query.shape[-1] // self.heads)  # (B P, H, 1, d)
        k = self._regions(F.linear(key, wk, bk), rows, columns)  # (B P, H, s * s, d)
        v = self._regions(F.linear(value, wv, bv), rows, columns)
        mask = self._real(rows, columns, query)
        o = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.repeat(len(query), 1, 1, 1))
        joined: Tensor = self.clip_attn.out_proj(o.reshape(query.shape))
        return joined

    def _regions(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """(B, N, C) -> (B P, H, s * s, d)."""
        s, batch = self.factor, len(patches)
        plane = patches.view(batch, rows, columns, -1)
        if rows % s or columns % s:
            plane = F.pad(plane, (0, 0, 0, -columns % s, 0, -rows % s))
        split = plane.view(batch, plane.shape[1] // s, s, plane.shape[2] // s, s, self.heads, -1)
        return split.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, self.heads, s * s, split.shape[-1])

    def _real(self, rows: int, columns: int, like: Tensor) -> Tensor | None:
        """(P, 1, 1, s * s) bool: which patches of a region are no padding; None where nothing is padded."""
        s = self.factor
        if not (rows % s or columns % s):
            return None
        plane = F.pad(torch.ones(rows, columns, device=like.device), (0, -columns % s, 0, -rows % s))
        split = plane.view(plane.shape[0] // s, s, plane.shape[1] // s, s).transpose(1, 2)
        return split.reshape(-1, 1, 1, s * s) > 0


def load_tokenpacker(ltc: Ltc, state: Mapping[str, Tensor]) -> None:
    """Copy a published TokenPacker projector into an LTC of the fresh form; other keys of the file are left alone.

    state: tensors by published name, with or without a prefix that ends in `mm_projector.`. Raises UsageError naming the
    keys or shapes that do not fit.
    """
    mark = "mm_projector."
    found = {name.rpartition(mark)[2]: value for name, value in state.items() if mark in name}
    wanted = ltc.state_dict()
    found = found or {name: value for name, value in state.items() if name in wanted}
    missing, odd = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or odd:
        raise UsageError(f"not the weights of this LTC: lacks {missing or 'nothing'}, does not know {odd or 'nothing'}")
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise UsageError(
                f"{name} has shape {tuple(value.shape)}, this LTC has {tuple(wanted[name].shape)}: set ltc_layers, "
                "ltc_heads and the widths to those of the published projector"
            )
    ltc.load_state_dict(found)
