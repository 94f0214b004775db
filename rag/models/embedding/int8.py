"""Linear layers computed with int8 matrix multiplication.

Weights are quantised once, per output row. Inputs are quantised at each call, per row, so that a text's
vector does not depend on the other texts in its batch. Importing this module does not import torch.
"""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear

Forward = Callable[["Tensor"], "Tensor"]
"""The function of a linear layer, shape (..., inputs) to (..., outputs), float32 both."""


def int8_onednn(layer: "Linear") -> Forward:
    """Build a replacement for a layer's `forward` that multiplies int8 matrices with oneDNN.

    Each input row is scaled to 0 … 255.

    Raises:
        RuntimeError: This build of torch has no oneDNN, or oneDNN does not support the layer.
    """
    import torch

    weights, scales = _quantise_weights(layer)
    rescale = _build_rescale(layer, weights, scales)
    packed_weights = torch.ops.onednn.qlinear_prepack(weights, None)
    weight_scales = scales.flatten()
    weight_zero_points = torch.zeros(len(weights), dtype=torch.long)

    def forward(inputs: "Tensor") -> "Tensor":
        rows = inputs.reshape(-1, inputs.shape[-1])
        # Made for embedding tables: eight bytes after each row hold its step and its minimum.
        quantised = torch.ops.quantized.embedding_bag_byte_prepack(rows)
        row_parameters = quantised[:, -8:].clone(memory_format=torch.contiguous_format)
        steps, minima = row_parameters.view(torch.float32).split(1, 1)
        products = torch.ops.onednn.qlinear_pointwise(
            quantised[:, :-8],
            1.0,  # input scale
            0,  # input zero point
            packed_weights,
            weight_scales,
            weight_zero_points,
            None,  # bias
            1.0,  # output scale
            0,  # output zero point
            torch.float32,  # output type
            "none",  # operation applied to the result
            [],
            "",
        )
        return rescale(products, steps, minima).view(*inputs.shape[:-1], -1)

    return forward


def int8_fbgemm(layer: "Linear") -> Forward:
    """Build a replacement for a layer's `forward` that multiplies int8 matrices with FBGEMM.

    Each input row is scaled to -127 … 127.

    Raises:
        RuntimeError: This build of torch has no FBGEMM.
    """
    import torch

    weights, scales = _quantise_weights(layer)
    rescale = _build_rescale(layer, weights, scales)
    zero_points = torch.zeros(len(weights), dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # deprecated in torch, whose version is pinned
        quantised_weights = torch._make_per_channel_quantized_tensor(
            weights, scales.flatten().double(), zero_points, 0
        )
    packed_weights = torch.ops.quantized.linear_prepack(quantised_weights, None)
    multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    def forward(inputs: "Tensor") -> "Tensor":
        rows = inputs.reshape(-1, inputs.shape[-1])
        minima = rows.amin(1, keepdim=True)  # amin and amax are faster than aminmax
        maxima = rows.amax(1, keepdim=True)
        steps = (maxima - minima).clamp_min_(1e-12).div_(254)
        midpoints = (maxima + minima).div_(2)
        scaled_rows = (rows - midpoints).mul_(steps.reciprocal())
        products = multiply(scaled_rows, 1.0, 127, packed_weights)
        return rescale(products, steps, midpoints).view(*inputs.shape[:-1], -1)

    return forward


def _build_rescale(
    layer: "Linear", weights: "Tensor", scales: "Tensor"
) -> Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]:
    """Build the function that turns the products for scaled rows into the layer's output, in place.

    An input row equals the scaled row times its step plus its offset.
    """
    import torch

    bias = torch.zeros(len(weights)) if layer.bias is None else layer.bias.detach()
    weight_sums = weights.sum(1) * scales.flatten()

    def rescale(products: "Tensor", steps: "Tensor", offsets: "Tensor") -> "Tensor":
        torch.addcmul(bias, products, steps, out=products)
        return products.addcmul_(offsets, weight_sums)

    return rescale


def _quantise_weights(layer: "Linear") -> tuple["Tensor", "Tensor"]:
    """Return the layer's weights as int8, and the scale of each row, shape (outputs, 1).

    Processors without VNNI add the products of two neighbouring weights in 16 bits and silently saturate
    larger sums. The scales therefore limit the sum of two neighbours of the same sign to 127: with
    inputs of 0 … 255, no sum saturates.
    """
    import torch

    weights = layer.weight.detach()
    padded = torch.nn.functional.pad(weights, (0, 1))
    positive = padded.clamp_min(0)
    negative = padded.clamp_max(0)
    positive_sums = positive[:, :-1] + positive[:, 1:]
    negative_sums = negative[:, :-1] + negative[:, 1:]
    limits = torch.maximum(positive_sums.amax(1), -negative_sums.amin(1)).unsqueeze(1)
    scales = limits.clamp_min_(1e-12).div_(126)  # rounding may add a half to each of the two
    return (weights / scales).round_().to(torch.int8), scales
