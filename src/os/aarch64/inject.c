// SPDX-License-Identifier: MIT
// Injected calls on aarch64: not supported, so targets are read in place.
#include "os/inject_impl.h"

#if defined(__aarch64__)

const struct os_inject_cpu os_inject_here = { .supported = false };

#endif
