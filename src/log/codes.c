// SPDX-License-Identifier: MIT
// The codes of a log's nodes, each kept once, with an open-addressed index. Called while nodes are decoded:
// once for each code of a block of them.
#include "log/log_impl.h"

#define FIRST_SLOTS 1024

static void slots_free(struct log_codes *codes)
{
	if (codes->slots)
		os_page_source.resize(codes->slots, codes->slot_count * sizeof(*codes->slots), 0);
}

void log_codes_init(struct log_codes *codes)
{
	*codes = (struct log_codes){ .slot_count = 0 };
	vec_init(&codes->codes, &os_page_source);
	vec_push(&codes->codes, 0);
}

void log_codes_deinit(struct log_codes *codes)
{
	slots_free(codes);
	vec_deinit(&codes->codes);
}

static uint32_t *slot_of(const struct log_codes *codes, uint64_t code)
{
	size_t at = (size_t)(code * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (codes->slot_count - 1);

	while (codes->slots[at] && codes->codes.v[codes->slots[at]] != code)
		at = (at + 1) & (codes->slot_count - 1);
	return &codes->slots[at];
}

static void grow(struct log_codes *codes)
{
	slots_free(codes);
	codes->slot_count = codes->slot_count ? codes->slot_count * 2 : FIRST_SLOTS;
	codes->slots = os_page_source.resize(NULL, 0, codes->slot_count * sizeof(*codes->slots));
	for (size_t i = 1; i < codes->codes.n; i++)
		*slot_of(codes, codes->codes.v[i]) = (uint32_t)i;
}

uint32_t log_codes_number(struct log_codes *codes, uint64_t code)
{
	uint32_t *slot;

	if (!code)
		return 0;
	if (codes->codes.n * 2 > codes->slot_count)
		grow(codes);
	slot = slot_of(codes, code);
	if (!*slot) {
		*slot = (uint32_t)codes->codes.n;
		vec_push(&codes->codes, code);
	}
	return *slot;
}
