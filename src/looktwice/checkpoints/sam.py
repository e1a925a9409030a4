"""SAM: facebookresearch/segment-anything's .pth files, and transformers' own layout, to transformers' SamModel."""

from __future__ import annotations

from looktwice.checkpoints.tables import Table

PUBLISHED: Table = {
    "image_encoder.pos_embed": "vision_encoder.pos_embed",
    "image_encoder.patch_embed.proj.{rest}": "vision_encoder.patch_embed.projection.{rest}",
    "image_encoder.blocks.{i}.norm{j}.{rest}": "vision_encoder.layers.{i}.layer_norm{j}.{rest}",
    "image_encoder.blocks.{i}.attn.{rest}": "vision_encoder.layers.{i}.attn.{rest}",
    "image_encoder.blocks.{i}.mlp.{rest}": "vision_encoder.layers.{i}.mlp.{rest}",
    "image_encoder.neck.0.{rest}": "vision_encoder.neck.conv1.{rest}",
    "image_encoder.neck.1.{rest}": "vision_encoder.neck.layer_norm1.{rest}",
    "image_encoder.neck.2.{rest}": "vision_encoder.neck.conv2.{rest}",
    "image_encoder.neck.3.{rest}": "vision_encoder.neck.layer_norm2.{rest}",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    "prompt_encoder.point_embeddings.{i}.{rest}": "prompt_encoder.point_embed.{i}.{rest}",
    "prompt_encoder.not_a_point_embed.{rest}": "prompt_encoder.not_a_point_embed.{rest}",
    "prompt_encoder.no_mask_embed.{rest}": "prompt_encoder.no_mask_embed.{rest}",
    "prompt_encoder.mask_downscaling.0.{rest}": "prompt_encoder.mask_embed.conv1.{rest}",
    "prompt_encoder.mask_downscaling.1.{rest}": "prompt_encoder.mask_embed.layer_norm1.{rest}",
    "prompt_encoder.mask_downscaling.3.{rest}": "prompt_encoder.mask_embed.conv2.{rest}",
    "prompt_encoder.mask_downscaling.4.{rest}": "prompt_encoder.mask_embed.layer_norm2.{rest}",
    "prompt_encoder.mask_downscaling.6.{rest}": "prompt_encoder.mask_embed.conv3.{rest}",
    "mask_decoder.iou_token.{rest}": "mask_decoder.iou_token.{rest}",
    "mask_decoder.mask_tokens.{rest}": "mask_decoder.mask_tokens.{rest}",
    "mask_decoder.transformer.layers.{i}.norm{j}.{rest}": "mask_decoder.transformer.layers.{i}.layer_norm{j}.{rest}",
    "mask_decoder.transformer.layers.{i}.{rest}": "mask_decoder.transformer.layers.{i}.{rest}",
    "mask_decoder.transformer.norm_final_attn.{rest}": "mask_decoder.transformer.layer_norm_final_attn.{rest}",
    "mask_decoder.transformer.final_attn_token_to_image.{rest}": (
        "mask_decoder.transformer.final_attn_token_to_image.{rest}"
    ),
    "mask_decoder.output_upscaling.0.{rest}": "mask_decoder.upscale_conv1.{rest}",
    "mask_decoder.output_upscaling.1.{rest}": "mask_decoder.upscale_layer_norm.{rest}",
    "mask_decoder.output_upscaling.3.{rest}": "mask_decoder.upscale_conv2.{rest}",
    "mask_decoder.output_hypernetworks_mlps.{i}.layers.0.{rest}": (
        "mask_decoder.output_hypernetworks_mlps.{i}.proj_in.{rest}"
    ),
    "mask_decoder.output_hypernetworks_mlps.{i}.layers.1.{rest}": (
        "mask_decoder.output_hypernetworks_mlps.{i}.layers.0.{rest}"
    ),
    "mask_decoder.output_hypernetworks_mlps.{i}.layers.2.{rest}": (
        "mask_decoder.output_hypernetworks_mlps.{i}.proj_out.{rest}"
    ),
    "mask_decoder.iou_prediction_head.layers.0.{rest}": "mask_decoder.iou_prediction_head.proj_in.{rest}",
    "mask_decoder.iou_prediction_head.layers.1.{rest}": "mask_decoder.iou_prediction_head.layers.0.{rest}",
    "mask_decoder.iou_prediction_head.layers.2.{rest}": "mask_decoder.iou_prediction_head.proj_out.{rest}",
    "pixel_mean": None,  # constants of the preparation, in files that were saved again
    "pixel_std": None,
}

TRANSFORMERS: Table = {
    "shared_image_embedding.{rest}": "shared_image_embedding.{rest}",
    "vision_encoder.{rest}": "vision_encoder.{rest}",
    "prompt_encoder.{rest}": "prompt_encoder.{rest}",
    "mask_decoder.{rest}": "mask_decoder.{rest}",
}

LAYOUTS = (PUBLISHED, TRANSFORMERS)
