// Operators for a CPU, float32, with gradients. Built by `python -m image_classification.cpu.build_operators`.
#include "activations.h"
#include "bias.h"
#include "depthwise.h"
#include "dynamic_relu.h"
#include "norms.h"
#include "training_step.h"

PD_BUILD_OP(mobile_backbones_depthwise)
    .Inputs({"X", "Weight"})
    .Outputs({"Out"})
    .Attrs({"stride_h: int", "stride_w: int", "top: int", "bottom: int", "left: int", "right: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseForward))
    .SetInferShapeFn(PD_INFER_SHAPE(DepthwiseShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(DepthwiseType));

PD_BUILD_GRAD_OP(mobile_backbones_depthwise)
    .Inputs({"X", "Weight", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight")})
    .Attrs({"stride_h: int", "stride_w: int", "top: int", "bottom: int", "left: int", "right: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseBackward));

PD_BUILD_OP(mobile_backbones_dynamic_relu)
    .Inputs({"X", "Lines"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(DynamicReLUForward))
    .SetInferShapeFn(PD_INFER_SHAPE(DynamicReLUShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(DepthwiseType));

PD_BUILD_GRAD_OP(mobile_backbones_dynamic_relu)
    .Inputs({"X", "Lines", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Lines")})
    .SetKernelFn(PD_KERNEL(DynamicReLUBackward));

PD_BUILD_OP(mobile_backbones_gelu)
    .Inputs({"X"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(ActivationForward<Curve::kSmooth>))
    .SetInferShapeFn(PD_INFER_SHAPE(ActivationShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ActivationType));

PD_BUILD_GRAD_OP(mobile_backbones_gelu)
    .Inputs({"X", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X")})
    .SetKernelFn(PD_KERNEL(ActivationBackward<Curve::kSmooth>));

PD_BUILD_OP(mobile_backbones_hardswish)
    .Inputs({"X"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(ActivationForward<Curve::kHard>))
    .SetInferShapeFn(PD_INFER_SHAPE(ActivationShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ActivationType));

PD_BUILD_GRAD_OP(mobile_backbones_hardswish)
    .Inputs({"X", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X")})
    .SetKernelFn(PD_KERNEL(ActivationBackward<Curve::kHard>));

PD_BUILD_OP(mobile_backbones_channel_norm)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Mean", "Factor"})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(ChannelNormForward))
    .SetInferShapeFn(PD_INFER_SHAPE(ChannelNormShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(NormType));

PD_BUILD_GRAD_OP(mobile_backbones_channel_norm)
    .Inputs({"X", "Weight", "Mean", "Factor", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(ChannelNormBackward));

PD_BUILD_OP(mobile_backbones_row_norm)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Mean", "Factor"})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(RowNormForward))
    .SetInferShapeFn(PD_INFER_SHAPE(RowNormShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(NormType));

PD_BUILD_GRAD_OP(mobile_backbones_row_norm)
    .Inputs({"X", "Weight", "Mean", "Factor", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(RowNormBackward));

PD_BUILD_OP(mobile_backbones_bias)
    .Inputs({"X", "Bias"})
    .Outputs({"Out"})
    .Attrs({"pixels: int64_t"})
    .SetInplaceMap({{"X", "Out"}})
    .SetKernelFn(PD_KERNEL(BiasForward));

PD_BUILD_GRAD_OP(mobile_backbones_bias)
    .Inputs({"Bias", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Bias")})
    .Attrs({"pixels: int64_t"})
    .SetKernelFn(PD_KERNEL(BiasBackward));
