// SPDX-License-Identifier: MIT
// heap -damage: blocks that the program wrote beside, or wrote into after they were freed. Only our
// malloc library can tell, when a debugging feature puts patterns there. Called by heap.c.
#include <ctype.h>
#include <inttypes.h>

#include "report/heap_impl.h"

static const struct {
	const char *name, *text;
	char sign;
} kinds[] = {
	[HEAP_DAMAGE_BEHIND] = { "overrun", "behind its end", '>' },
	[HEAP_DAMAGE_BEFORE] = { "underrun", "before its start", '<' },
	[HEAP_DAMAGE_FREED] = { "after_free", "in it, after it was freed", '!' },
};

// How far the first damaged byte is from where the program's bytes end or start.
static uint64_t distance(const struct heap_damage *damage)
{
	if (damage->kind == HEAP_DAMAGE_BEHIND)
		return damage->at - damage->address - damage->requested;
	if (damage->kind == HEAP_DAMAGE_BEFORE)
		return damage->address - damage->at;
	return damage->at > damage->address ? damage->at - damage->address : 0;
}

// "41 42 43 ... \"ABC\""
static const char *contents(const struct heap_damage *damage, struct arena *arena)
{
	size_t n = damage->count < HEAP_DAMAGE_FOUND ? damage->count : HEAP_DAMAGE_FOUND;
	char hex[3 * HEAP_DAMAGE_FOUND + 1] = "", text[HEAP_DAMAGE_FOUND + 1];
	char *end = hex;

	for (size_t i = 0; i < n; i++) {
		end += snprintf(end, 4, i ? " %02x" : "%02x", damage->found[i]);
		text[i] = isprint(damage->found[i]) ? (char)damage->found[i] : '.';
	}
	text[n] = '\0';
	return arena_format(arena, "%s%s  %s", hex, damage->count > n ? " ..." : "", text);
}

static void print_one(struct emitter *e, struct look *look, const struct heap_damage *damage)
{
	const char *zone = report_zone_name(look->heaps, damage->zone, look->arena);

	emit_object(e, NULL);
	emit_text(e, "%c ", kinds[damage->kind].sign);
	emit_string(e, "kind", kinds[damage->kind].name, NULL);
	emit_address(e, "address", damage->address, "0x%" PRIx64);
	emit_u64(e, "requested_bytes", damage->requested, "  %" PRIu64 " bytes");
	emit_string(e, "zone", zone, "  %s\n");
	emit_u64(e, "count", damage->count, "    %" PRIu64 " bytes");
	emit_address(e, "at", damage->at, " at 0x%" PRIx64);
	emit_u64(e, "distance_bytes", distance(damage), ", %" PRIu64 " bytes ");
	emit_text(e, "%s: ", kinds[damage->kind].text);
	emit_string(e, "contents", contents(damage, look->arena), "%s\n");
	emit_object_end(e);
}

void heap_print_damage(struct emitter *e, struct look *look)
{
	const struct heaps *heaps = look->heaps;

	if (!heaps->edges_kept)
		emit_text(
			e,
			"The program keeps no patterns beside its blocks: nobody can tell what it "
			"overwrote.\nStart it with: heapwright run --check-edges -- COMMAND\n");
	else
		emit_text(e, "%zu damaged place%s: > overrun, < underrun, ! written after free\n\n",
		          heaps->damage_count, heaps->damage_count == 1 ? "" : "s");
	emit_array(e, "damage");
	for (size_t i = 0; i < heaps->damage_count; i++)
		print_one(e, look, &heaps->damage[i]);
	emit_array_end(e);
}
