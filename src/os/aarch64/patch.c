// SPDX-License-Identifier: MIT
// Patched functions on aarch64: not supported, as no injected call is.
#include "os/patch.h"

#if defined(__aarch64__)

const char *os_patch_make(const uint8_t *code, size_t bytes, uint64_t site, uint64_t island,
                          uint64_t hook, struct os_patch *ret)
{
	(void)code, (void)bytes, (void)site, (void)island, (void)hook, (void)ret;
	return "functions are patched on x86-64 only";
}

#endif
