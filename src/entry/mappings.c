// SPDX-License-Identifier: MIT
// In the shared libraries mmap and its family are ours, and the recorder is told of them.
#include "entry/entry_impl.h"
#include "mappings/mappings.h"

void entry_mappings_record(const struct record_hooks *hooks)
{
	mappings_hooks = *hooks;
}
