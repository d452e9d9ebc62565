// All kernels of the encoder in one image. Built for several architectures into one fat binary, of which the driver takes
// the fitting part: the Hopper products exist only in the part for sm_90a, where they replace the portable ones.
#include "encoder_load.cu"
#include "encoder_norm.cu"
#include "encoder_gemm.cu"
#include "encoder_attention.cu"
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
#include "encoder_hopper.cu"
#include "encoder_attention_hopper.cu"
#endif
