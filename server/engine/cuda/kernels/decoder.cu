// All kernels of the decoder in one image.
#include "decoder_pack.cu"
#include "decoder_pick.cu"
#include "decoder_relay.cu"
#include "decoder_step.cu"
