// SPDX-License-Identifier: MIT
// Feeds any text to the demanglers.
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"
#include "symbols/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct arena arena;
	char *name;

	arena_init(&arena, &os_page_source);
	name = arena_copy_n(&arena, (const char *)bytes, count);
	sink += strlen(symbols_demangle(&arena, name));
	sink += strlen(symbols_demangle_type(&arena, name));
	arena_deinit(&arena);
	return 0;
}
