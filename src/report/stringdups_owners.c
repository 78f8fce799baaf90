// SPDX-License-Identifier: MIT
// Who refers to the blocks of the groups: one pass over all references, of which each block keeps the
// first one (roots are asked first), and equal owners are counted
// (stringdups.c). An owner is a class, or a size, with the offset of the pointer in it, or a root.
#include "report/stringdups_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/stacks.h"

#define FIRST_SLOTS 1024
#define MOST_ROOTS  65536 // named one by one; those beyond are "a root"
#define ARRAY_BYTES \
	512 // a block above, of no type, is an array: where in it a pointer stands says little

// Equal for owners of one name. A root has a text only, a block a type, a text or a size.
struct owner {
	const struct type *type;
	const char *text;
	uint64_t size, offset;
	bool is_root;
	bool is_passing; // of a stack or register: an owner that stays is worth more
};

#define NO_OFFSET UINT64_MAX

struct owners {
	struct dups *dups;
	VEC(struct owner) all; // from 1 on
	uint32_t *slots;       // into all, 0 empty
	size_t slot_count;
	size_t roots;              // named so far
	const uint32_t *member_of; // by block
};

// --- each owner once -----------------------------------------------------------------------------
static bool owners_equal(const struct owner *a, const struct owner *b)
{
	return a->type == b->type && a->size == b->size && a->offset == b->offset &&
	       (a->text == b->text || (a->text && b->text && !strcmp(a->text, b->text)));
}

static uint64_t owner_hash(const struct owner *owner)
{
	uint64_t hash = ((uintptr_t)owner->type ^ owner->size << 20) * 33 + owner->offset;

	for (const char *at = owner->text; at && *at; at++)
		hash = hash * 33 + (unsigned char)*at;
	return hash * 0x9e3779b97f4a7c15ull;
}

static uint32_t *slot_of(const struct owners *owners, const struct owner *owner)
{
	size_t i = (size_t)(owner_hash(owner) >> 32) & (owners->slot_count - 1);

	while (owners->slots[i] && !owners_equal(&owners->all.v[owners->slots[i]], owner))
		i = (i + 1) & (owners->slot_count - 1);
	return &owners->slots[i];
}

static void slots_grow(struct owners *owners)
{
	owners->slot_count = owners->slot_count ? 2 * owners->slot_count : FIRST_SLOTS;
	owners->slots =
		arena_array(owners->dups->look->arena, owners->slot_count, sizeof(*owners->slots));
	for (size_t i = 1; i < owners->all.n; i++)
		*slot_of(owners, &owners->all.v[i]) = (uint32_t)i;
}

static uint32_t owner_number(struct owners *owners, const struct owner *owner)
{
	uint32_t *slot;

	if ((owners->all.n + 1) * 2 > owners->slot_count)
		slots_grow(owners);
	slot = slot_of(owners, owner);
	if (!*slot) {
		*slot = (uint32_t)owners->all.n;
		vec_push(&owners->all, *owner);
	}
	return *slot;
}

// --- what refers ---------------------------------------------------------------------------------
// "cache + 128 in server (.bss)" is a part of "cache in server (.bss)".
static void cut_offset(char *text)
{
	char *plus = strstr(text, " + ");
	size_t digits = plus ? strspn(plus + 3, "0123456789") : 0;

	if (digits)
		memmove(plus, plus + 3 + digits, strlen(plus + 3 + digits) + 1);
}

// The file's name is enough.
static const char *cut_folder(const char *text)
{
	const char *end = strrchr(text, '(');

	while (*text == '/' && end && memchr(text + 1, '/', (size_t)(end - text) - 1))
		text = (const char *)memchr(text + 1, '/', (size_t)(end - text) - 1);
	return text + (*text == '/');
}

static struct owner root_owner(struct owners *owners, const struct graph_reference *reference)
{
	struct owner owner = { .text = "a root", .is_root = true };
	char *text;

	if (owners->roots++ < MOST_ROOTS) {
		text = arena_copy(owners->dups->look->arena,
		                  report_root_text(owners->dups->look, reference));
		cut_offset(text);
		owner.text = cut_folder(text);
		owner.is_passing = reference->root_value || text_starts_with(text, "stack of ");
	}
	return owner;
}

static struct owner block_owner(struct owners *owners, const struct graph_reference *reference)
{
	struct look *look = owners->dups->look;
	struct owner owner = { .offset = reference->from_offset };

	owner.type = types_of(look->types, reference->from);
	if (!owner.type)
		owner.text = stacks_block_name(look, reference->from);
	if (owner.type || owner.text)
		return owner;
	owner.size = look->heaps->blocks[reference->from].hb_size;
	if (owner.size > ARRAY_BYTES)
		owner.offset = NO_OFFSET;
	return owner;
}

static bool take(void *context, const struct graph_reference *reference)
{
	struct owners *owners = context;
	struct dups_member *member = &owners->dups->members.v[owners->member_of[reference->to]];
	struct owner owner;

	if (reference->from == reference->to ||
	    (member->owner && !owners->all.v[member->owner].is_passing))
		return true;
	owner = reference->from == GRAPH_NO_BLOCK ? root_owner(owners, reference)
	                                          : block_owner(owners, reference);
	member->owner = owner_number(owners, &owner);
	return true;
}

// --- by group ------------------------------------------------------------------------------------
static const char *owner_name(struct arena *arena, const struct owner *owner)
{
	if (owner->is_root)
		return owner->text;
	if (owner->offset == NO_OFFSET)
		return arena_format(arena, "malloc<%" PRIu64 ">", owner->size);
	if (owner->size)
		return arena_format(arena, "malloc<%" PRIu64 ">[%" PRIu64 "]", owner->size,
		                    owner->offset);
	return arena_format(arena, "%s[%" PRIu64 "]", owner->type ? owner->type->name : owner->text,
	                    owner->offset);
}

struct tally {
	uint32_t owner, count;
};

static int compare_tally(const void *a, const void *b)
{
	const struct tally *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->owner < y->owner ? -1 : x->owner > y->owner;
}

static void group_owners(struct owners *owners, struct dups_group *group)
{
	const struct dups_member *members = owners->dups->members.v + group->members;
	struct arena *arena = owners->dups->look->arena;
	struct tally tally[DUPS_OWNERS];
	struct dups_owner *kept;
	size_t n = 0, k;

	for (uint32_t i = 0; i < group->count; i++) {
		if (!members[i].owner)
			continue;
		for (k = 0; k < n && tally[k].owner != members[i].owner;)
			k++;
		if (k == DUPS_OWNERS) {
			group->more_owners = true;
			continue;
		}
		if (k == n)
			tally[n++] = (struct tally){ members[i].owner, 0 };
		tally[k].count++;
	}
	if (!n)
		return;
	qsort(tally, n, sizeof(*tally), compare_tally);
	kept = arena_array(arena, n, sizeof(*kept));
	for (k = 0; k < n; k++)
		kept[k] = (struct dups_owner){ owner_name(arena, &owners->all.v[tally[k].owner]),
			                       tally[k].count };
	group->owners = kept;
	group->owner_count = n;
}

struct error *dups_find_owners(struct dups *dups)
{
	struct owners owners = { .dups = dups };
	uint32_t *blocks = arena_array(dups->look->arena, dups->members.n, sizeof(*blocks));
	const size_t heap_count = dups->look->heaps->block_count;
	uint32_t *member_of = arena_array(dups->look->arena, heap_count, sizeof(*member_of));
	struct error *error;
	size_t n = 0;

	vec_init(&owners.all, &os_page_source);
	(void)vec_add(&owners.all);
	// The graph knows the blocks of heaps only; those that it does not come last.
	for (; n < dups->members.n && dups->members.v[n].block < heap_count; n++) {
		blocks[n] = dups->members.v[n].block;
		member_of[blocks[n]] = (uint32_t)n;
	}
	owners.member_of = member_of;
	error = graph_references_to(dups->look->graph, blocks, n, take, &owners);
	dups_sort_members(dups);
	for (size_t i = 0; !error && i < dups->groups.n; i++)
		group_owners(&owners, &dups->groups.v[i]);
	vec_deinit(&owners.all);
	return error;
}
