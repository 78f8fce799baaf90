// SPDX-License-Identifier: MIT
// In the shared libraries mmap and its family are ours, and the recorder is told of them.
#include "entry/entry_impl.h"
#include "layout/record_attach.h"
#include "mappings/mappings.h"

void entry_mappings_record(const struct record_hooks *hooks)
{
	mappings_hooks = *hooks;
}

void entry_mappings_switch(struct record_switch *ret)
{
	ret->mapped = (uintptr_t)&mappings_hooks.called;
	ret->mapped_shared = (uintptr_t)&mappings_shared;
}
