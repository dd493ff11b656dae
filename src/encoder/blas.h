/* OpenBLAS, made ready before the first product of matrices. */
#ifndef LOB_ENCODER_BLAS_H
#define LOB_ENCODER_BLAS_H

#include "base/base.h"

/* One thread, and room for the buffer that OpenBLAS would otherwise ask for again for ever; at the first call
 * the buffer is taken. Encoders call it when they are opened; what else multiplies calls it before. Local,
 * one thread of a process. INTERNAL error: several threads, or too little memory. */
bool lob_blas_ready(GError **err);

#endif
