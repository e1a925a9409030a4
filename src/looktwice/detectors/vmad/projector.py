"""Image tokens: LTC (Locality-enhanced Token Compression), and LLaVA's own projectors, linear and mlp2x.

VMAD (arXiv 2409.20146) says of LTC that features of several tower layers are joined and that fine detail is injected
into coarse queries; the formula is our definition, in the form of TokenPacker (Li et al., arXiv 2407.02392), whose
published projectors load by name. Differs from TokenPacker's code: any grid (what the factor does not divide is padded
and masked), heads and widths by configuration, and a warm start that is LLaVA's projector on pooled features.

Letters: B pictures, g side of the patch grid, N = g * g patches, s factor, r = ceil(g / s), P = r * r tokens, C width
of the tower, L tower layers, D width of the language model, H heads, d = C / H.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class Linear(nn.Linear):
    """A Linear that starts as TokenPacker's do: truncated normal weights, zero biases."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.trunc_normal_(self.weight, std=STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def plain(name: str, width: int, out: int, kind: type[nn.Linear] = nn.Linear) -> nn.Module:
    """LLaVA 1.1's Linear, or LLaVA 1.5's Linear, GELU, Linear."""
    if name == "linear":
        return kind(width, out)
    return nn.Sequential(kind(width, out), nn.GELU(), kind(out, out))


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
        self.q_proj_1 = Linear(width, width, bias=False)
        self.k_proj_1 = nn.Sequential(Linear(layers * width, width), nn.GELU(), Linear(width, width))
        self.v_proj_1 = nn.Sequential(Linear(layers * width, width), nn.GELU(), Linear(width, width))
        self.ln_q_1, self.ln_k_1, self.ln_v_1 = (nn.LayerNorm(width, eps=EPS) for _ in range(3))
        self.clip_attn = nn.MultiheadAttention(width, heads)  # holds the weights; `_attend` does the work
        self.clip_attn.out_proj = Linear(width, width)  # type: ignore[assignment]
        self.warm = base is not None
        if base is None:
            self.mlp = plain("mlp2x", width, out, Linear)
        else:
            self.inject = Linear(width, width, bias=False)
            self.alpha = nn.Parameter(torch.zeros(1))
            self.base = plain(base, width, out, Linear)

    def reset_parameters(self) -> None:
        """Start the warm form as LLaVA's projector; the layers start themselves."""
        if self.warm:
            nn.init.zeros_(self.alpha)

    def forward(self, coarse: Tensor, fine: Sequence[Tensor], grid: tuple[int, int] | None = None) -> Tensor:
        """Compress (B, N, C) patches of one layer and of L layers to (B, P, D) tokens, row by row.

        grid: rows and columns of the patches; None for a square. Raises UsageError where N is not their product.
        """
        rows, columns = grid or (round(coarse.shape[1] ** 0.5),) * 2
        if any(one.shape[1] != rows * columns for one in (coarse, *fine)):
            raise UsageError(
                f"LTC: {coarse.shape[1]} coarse and {[one.shape[1] for one in fine]} fine patches are no grid of "
                f"{rows} x {columns}"
            )
        pooled = self._pool(coarse, rows, columns)  # (B, P, C)
        # cut into regions while joined: one copy for both
        joined = torch.cat([self._regions(one, rows, columns) for one in fine], -1).flatten(3, 4).flatten(1, 2)
        query = self.ln_q_1(self.q_proj_1(pooled))
        key, value = self.ln_k_1(self.k_proj_1(joined)), self.ln_v_1(self.v_proj_1(joined))  # (B, P, s * s, C)
        detail = self._attend(query, key, value, self._real(rows, columns, coarse))  # (B, P, C)
        if self.warm:
            tokens: Tensor = self.base(pooled + self.alpha * self.inject(detail))
        else:
            tokens = self.mlp(detail)
        return tokens

    def _pool(self, coarse: Tensor, rows: int, columns: int) -> Tensor:
        """(B, N, C) -> (B, P, C): bilinear, in float32, one token in the middle of each region."""
        s = self.factor
        plane = coarse.reshape(len(coarse), rows, columns, -1).permute(0, 3, 1, 2).float()  # (B, C, g, g)
        plane = F.pad(plane, (0, -columns % s, 0, -rows % s), mode="replicate")
        size = (plane.shape[2] // s, plane.shape[3] // s)
        return F.interpolate(plane, size=size, mode="bilinear").flatten(2).transpose(1, 2).to(coarse.dtype)

    def _regions(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """(B, N, C) -> a view (B, r, r, s, s, C)."""
        s = self.factor
        plane = patches.reshape(len(patches), rows, columns, -1)
        if rows % s or columns % s:
            plane = F.pad(plane, (0, 0, 0, -columns % s, 0, -rows % s))
        return plane.unfold(1, s, s).unfold(2, s, s).permute(0, 1, 2, 4, 5, 3)

    def _real(self, rows: int, columns: int, like: Tensor) -> Tensor | None:
        """(B, P, s * s) bool: which patches of a region are no padding; None where nothing is padded."""
        s = self.factor
        if not (rows % s or columns % s):
            return None
        ones = torch.ones(1, rows * columns, 1, device=like.device)
        return (self._regions(ones, rows, columns).reshape(1, -1, s * s) > 0).expand(len(like), -1, -1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor | None) -> Tensor:
        """Multi-head attention of each (B, P, C) query to the s * s keys of its region; all regions at once."""
        weight, bias = self.clip_attn.in_proj_weight, self.clip_attn.in_proj_bias
        (wq, wk, wv), (bq, bk, bv) = weight.chunk(3), bias.chunk(3)
        q = F.linear(query, wq, bq).reshape(-1, self.heads, 1, query.shape[-1] // self.heads)  # (B P, H, 1, d)
        k, v = (
            F.linear(one, w, b).view(len(q), -1, self.heads, q.shape[-1]).transpose(1, 2)  # (B P, H, s * s, d)
            for one, w, b in ((key, wk, bk), (value, wv, bv))
        )
        mask = None if real is None else real.flatten(0, 1)[:, None, None]
        o = F.scaled_dot_product_attention(q, k, v, mask)
        joined: Tensor = self.clip_attn.out_proj(o.reshape(query.shape))
        return joined
