// SPDX-License-Identifier: MIT
// NUMA nodes and their zones, all of /proc/zoneinfo, which is written under one look at each zone
// (Linux mm/vmstat.c, zoneinfo_show_print). Called by report.
#include <stdlib.h>
#include <string.h>

#include "machine/machine_impl.h"

struct reader {
	struct arena *arena;
	VEC(struct machine_node) nodes;
	VEC(struct machine_zone) zones; // of all nodes, in the order of the text
	VEC(unsigned) zone_nodes;       // which each belongs to
};

// The text names node by node and zone by zone.
static struct machine_node *node_of(struct reader *reader, unsigned number)
{
	size_t n = reader->nodes.n;

	if (!n || reader->nodes.v[n - 1].number != number)
		vec_add(&reader->nodes)->number = number;
	return &reader->nodes.v[reader->nodes.n - 1];
}

static struct machine_zone *zone_of(struct reader *reader, const struct os_zone_name *name)
{
	size_t n = reader->zones.n;

	if (n && reader->zone_nodes.v[n - 1] == name->node &&
	    !strcmp(reader->zones.v[n - 1].name, name->zone))
		return &reader->zones.v[n - 1];
	node_of(reader, name->node);
	vec_push(&reader->zone_nodes, name->node);
	strcpy(vec_add(&reader->zones)->name, name->zone);
	return &reader->zones.v[n];
}

static bool take_threshold(struct machine_zone *zone, const char *key, size_t length,
                           uint64_t value)
{
	static const struct {
		const char *key;
		size_t offset;
	} fields[] = {
		{ "free", offsetof(struct machine_zone, free) },
		{ "boost", offsetof(struct machine_zone, boost) },
		{ "min", offsetof(struct machine_zone, min) },
		{ "low", offsetof(struct machine_zone, low) },
		{ "high", offsetof(struct machine_zone, high) },
		{ "promo", offsetof(struct machine_zone, promo) },
		{ "spanned", offsetof(struct machine_zone, spanned) },
		{ "present", offsetof(struct machine_zone, present) },
		{ "managed", offsetof(struct machine_zone, managed) },
		{ "cma", offsetof(struct machine_zone, cma) },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strncmp(fields[i].key, key, length) != 0 || fields[i].key[length])
			continue;
		*(uint64_t *)((char *)zone + fields[i].offset) = value;
		return true;
	}
	return false;
}

// A zone calls its lists nr_zone_active_anon, a node nr_active_anon.
static void take_zone_counter(struct machine_zone *zone, const char *key, size_t length,
                              uint64_t value)
{
	static const char prefix[] = "nr_zone_";
	char plain[64] = "nr_";
	size_t cut = sizeof(prefix) - 1;

	if (length > cut && length - cut + 3 < sizeof(plain) && !memcmp(key, prefix, cut)) {
		memcpy(plain + 3, key + cut, length - cut);
		key = plain;
		length = length - cut + 3;
	}
	machine_counter_set(&zone->counters, MACHINE_FILE_VMSTAT, key, length, value);
}

static void take_line(void *context, const struct os_zone_name *name, bool in_node, const char *key,
                      size_t length, uint64_t value)
{
	struct reader *reader = context;
	struct machine_zone *zone = zone_of(reader, name);

	if (in_node)
		machine_counter_set(&node_of(reader, name->node)->counters, MACHINE_FILE_VMSTAT,
		                    key, length, value);
	else if (!take_threshold(zone, key, length, value))
		take_zone_counter(zone, key, length, value);
}

// Counters that only zones have become those of the node: what is free, where allocations went.
static void node_add(struct machine_counters *node, const struct machine_counters *zone)
{
	static const enum machine_counter summed[] = { MACHINE_FREE, MACHINE_MLOCKED,
		                                       MACHINE_NUMA_HIT, MACHINE_NUMA_MISS,
		                                       MACHINE_NUMA_FOREIGN };

	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++) {
		uint64_t sum = node->value[summed[i]];

		if (zone->is_known[summed[i]] &&
		    !__builtin_add_overflow(sum, zone->value[summed[i]], &sum))
			machine_counter_put(node, summed[i], sum);
	}
}

// Its zones stand together, from *at on.
static void node_fill(struct reader *reader, struct machine_node *node, size_t *at)
{
	size_t end = *at;

	while (end < reader->zones.n && reader->zone_nodes.v[end] == node->number)
		end++;
	node->zones = arena_array(reader->arena, end - *at, sizeof(*node->zones));
	for (; *at < end; ++*at) {
		const struct machine_zone *zone = &reader->zones.v[*at];

		if (!zone->present)
			continue;
		node->zones[node->zone_count++] = *zone;
		node_add(&node->counters, &zone->counters);
	}
}

static int by_number(const void *a, const void *b)
{
	unsigned x = ((const struct machine_node *)a)->number;
	unsigned y = ((const struct machine_node *)b)->number;

	return (x > y) - (x < y);
}

struct error *machine_nodes_read(const char *root, struct arena *arena, struct machine_node **ret,
                                 size_t *ret_count)
{
	struct reader reader = { .arena = arena };
	size_t bytes, at = 0;
	char *text = machine_text(root, arena, &bytes, "/proc/zoneinfo");

	if (!text)
		return error_new(ERROR_SYSTEM, "cannot read %s/proc/zoneinfo", root ? root : "");
	vec_init(&reader.nodes, &os_page_source);
	vec_init(&reader.zones, &os_page_source);
	vec_init(&reader.zone_nodes, &os_page_source);
	os_zoneinfo_parse(text, bytes, take_line, &reader);
	*ret_count = reader.nodes.n;
	*ret = arena_array(arena, reader.nodes.n, sizeof(**ret));
	for (size_t i = 0; i < reader.nodes.n; i++) {
		node_fill(&reader, &reader.nodes.v[i], &at);
		(*ret)[i] = reader.nodes.v[i];
	}
	qsort(*ret, *ret_count, sizeof(**ret), by_number);
	vec_deinit(&reader.nodes);
	vec_deinit(&reader.zones);
	vec_deinit(&reader.zone_nodes);
	return NULL;
}
