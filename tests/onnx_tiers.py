"""The ops of ONNX in the order in which networks need them."""

from __future__ import annotations

__all__ = ["TIERS", "tier_of"]

TIERS: dict[int, str] = {
    0: """Conv Relu MaxPool AveragePool GlobalAveragePool BatchNormalization LRN Gemm Reshape Softmax Dropout Concat
          Add Mul Sum Unsqueeze Transpose ConstantOfShape MatMul Flatten Constant Identity""",
    1: """RNN GRU LSTM Scan If Loop ReverseSequence Sub Div Pow Sqrt Exp Log Neg Abs Reciprocal Erf Min Max Mean Floor
          Ceil Sign Sigmoid Tanh LeakyRelu PRelu Elu Selu Celu HardSigmoid HardSwish Softplus Softsign Gelu Mish Clip
          LogSoftmax Hardmax ThresholdedRelu ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2
          ReduceLogSumExp ReduceSumSquare ReduceLogSum ArgMax ArgMin Equal Greater GreaterOrEqual Less LessOrEqual And
          Or Not Xor Where Cast CastLike Shape Size Gather Slice Split Squeeze Expand Tile Range Pad OneHot
          GlobalMaxPool ConvTranspose InstanceNormalization LayerNormalization GroupNormalization
          MeanVarianceNormalization""",
    2: """Resize Upsample DepthToSpace SpaceToDepth TopK NonMaxSuppression GatherElements GatherND ScatterElements
          ScatterND NonZero CumSum Einsum Trilu EyeLike Round Mod Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh
          IsNaN IsInf LpNormalization LpPool GlobalLpPool MaxUnpool Shrink Compress Col2Im CenterCropPad Bernoulli
          RandomUniform RandomNormal RandomUniformLike RandomNormalLike BitwiseAnd BitwiseOr BitwiseXor BitwiseNot
          BitShift Unique""",
    3: """QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
          SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss Gradient Adam Momentum Adagrad""",
}
"""What stands in none of them is tier 4."""

_OF = {name: tier for tier, names in TIERS.items() for name in names.split()}


def tier_of(op: str) -> int:
    """The tier of an op type of ONNX's own domain."""
    return _OF.get(op, 4)
