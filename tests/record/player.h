// SPDX-License-Identifier: MIT
// Plays the recorder of a program: makes the shared mapping and writes events into its rings, as
// layout/record.h says, without any malloc behind it. For tests and benchmarks of the collector.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "layout/record.h"

struct player_sizes {
	uint32_t nodes, modules, texts, rings, ring_events;
};

struct player {
	int fd;
	struct record_header *header;
	uint64_t bytes;
};

static inline uint64_t player_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t player_ticks(const struct player *player)
{
	return player_ns(CLOCK_MONOTONIC) - player->header->clock_start;
}

static inline struct record_node *player_nodes(const struct player *player)
{
	return (struct record_node *)((char *)player->header + player->header->nodes_offset);
}

static inline struct record_module *player_modules(const struct player *player)
{
	return (struct record_module *)((char *)player->header + player->header->modules_offset);
}

static inline char *player_texts(const struct player *player)
{
	return (char *)player->header + player->header->texts_offset;
}

static inline struct record_ring *player_ring(const struct player *player, uint32_t ring)
{
	return (struct record_ring *)((char *)player->header + player->header->rings_offset +
	                              ring * player->header->ring_stride);
}

static inline struct record_event *player_slot(const struct player *player,
                                               struct record_ring *ring, uint64_t number)
{
	return (struct record_event *)(ring + 1) + number % player->header->ring_events;
}

static inline uint64_t player_pages(uint64_t bytes)
{
	return (bytes + 4095) / 4096 * 4096;
}

static inline void player_fill_header(struct record_header *header,
                                      const struct player_sizes *sizes, const char *log_path)
{
	*header = (struct record_header){
		.version = RECORD_VERSION,
		.bytes = sizeof(*header),
		.node_bytes = sizeof(struct record_node),
		.module_bytes = sizeof(struct record_module),
		.ring_header_bytes = sizeof(struct record_ring),
		.event_bytes = sizeof(struct record_event),
		.live_bytes = sizeof(struct record_live),
		.ring_events = sizes->ring_events,
		.mode = RECORD_FULL,
		.what = RECORD_WHAT_MALLOC | RECORD_WHAT_VM,
		.clock = RECORD_CLOCK_MONOTONIC,
		.state = RECORD_ON,
		.node_capacity = sizes->nodes,
		.module_capacity = sizes->modules,
		.text_capacity = sizes->texts,
		.ring_capacity = sizes->rings,
		.node_count = 1,
		.process_id = (uint32_t)getpid(),
		.clock_start = player_ns(CLOCK_MONOTONIC),
		.wall_ns = player_ns(CLOCK_REALTIME),
		.wait_ns = 100000000,
	};
	header->start_ns = header->clock_start;
	header->nodes_offset = player_pages(sizeof(*header));
	header->modules_offset =
		player_pages(header->nodes_offset + (uint64_t)sizes->nodes * header->node_bytes);
	header->texts_offset = player_pages(header->modules_offset +
	                                    (uint64_t)sizes->modules * header->module_bytes);
	header->rings_offset = player_pages(header->texts_offset + sizes->texts);
	header->ring_stride = player_pages(sizeof(struct record_ring) +
	                                   (uint64_t)sizes->ring_events * header->event_bytes);
	header->live_offset = header->total_bytes =
		header->rings_offset + sizes->rings * header->ring_stride;
	snprintf(header->log_path, sizeof(header->log_path), "%s", log_path);
	memcpy(header->magic, RECORD_MAGIC, sizeof(header->magic));
}

// To be called in the process that plays the program, or in its parent before a fork.
static inline bool player_open(struct player *player, const struct player_sizes *sizes,
                               const char *log_path)
{
	struct record_header *header = malloc(sizeof(*header));

	player_fill_header(header, sizes, log_path);
	player->bytes = header->total_bytes;
	player->fd = memfd_create(RECORD_NAME, MFD_ALLOW_SEALING);
	if (player->fd < 0 || ftruncate(player->fd, (off_t)player->bytes))
		return false;
	fcntl(player->fd, F_ADD_SEALS, F_SEAL_SHRINK);
	player->header = mmap(NULL, player->bytes, PROT_READ | PROT_WRITE,
	                      MAP_SHARED | MAP_NORESERVE, player->fd, 0);
	if (player->header == MAP_FAILED)
		return false;
	memcpy(player->header, header, sizeof(*header));
	free(header);
	return true;
}

static inline void player_futex(uint32_t *word, int operation, uint32_t value)
{
	struct timespec limit = { .tv_nsec = 100000000 };

	syscall(SYS_futex, word, operation, value, operation == FUTEX_WAIT ? &limit : NULL, NULL,
	        0);
}

// Waits until a collector has the mapping; false when it never comes.
static inline bool player_wait_for_collector(const struct player *player)
{
	uint32_t *state = &player->header->collector;

	for (int i = 0; i < 300; i++) {
		if (__atomic_load_n(state, __ATOMIC_ACQUIRE) != RECORD_COLLECTOR_NONE)
			return __atomic_load_n(state, __ATOMIC_ACQUIRE) == RECORD_COLLECTOR_RUNS;
		player_futex(state, FUTEX_WAIT, RECORD_COLLECTOR_NONE);
	}
	return false;
}

static inline struct record_ring *player_claim_ring(const struct player *player)
{
	uint32_t number = __atomic_fetch_add(&player->header->ring_count, 1, __ATOMIC_SEQ_CST);
	struct record_ring *ring = player_ring(player, number);

	ring->thread = (int32_t)syscall(SYS_gettid);
	__atomic_store_n(&ring->state, RECORD_RING_OWNED, __ATOMIC_RELEASE);
	return ring;
}

static inline void player_wake_collector(const struct player *player)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&player->header->collector_sleeps, __ATOMIC_RELAXED))
		return;
	__atomic_add_fetch(&player->header->wake, 1, __ATOMIC_SEQ_CST);
	player_futex(&player->header->wake, FUTEX_WAKE, INT32_MAX);
}

// Waits for room for ever: a test that loses events by accident would tell nothing.
static inline void player_make_room(const struct player *player, struct record_ring *ring,
                                    uint32_t events)
{
	while (ring->written + events - __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE) >
	       player->header->ring_events) {
		player_wake_collector(player);
		__atomic_store_n(&ring->waiting, 1, __ATOMIC_SEQ_CST);
		if (ring->written + events - __atomic_load_n(&ring->read, __ATOMIC_SEQ_CST) >
		    player->header->ring_events)
			player_futex(&ring->waiting, FUTEX_WAIT, 1);
	}
}

static inline void player_begin(struct record_ring *ring)
{
	__atomic_store_n(&ring->busy, 1, __ATOMIC_RELEASE);
}

static inline void player_put(const struct player *player, struct record_ring *ring, uint64_t ticks,
                              uint32_t kind, uint64_t address, uint64_t bytes, uint32_t node,
                              uint32_t extra)
{
	struct record_event *event = player_slot(player, ring, ring->written);

	*event = (struct record_event){ record_stamp(ticks, kind), address, bytes, node, extra };
	__atomic_store_n(&ring->stamp, ticks, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->written, ring->written + 1, __ATOMIC_RELEASE);
	if (ring->written - __atomic_load_n(&ring->read, __ATOMIC_RELAXED) ==
	    player->header->ring_events / 2)
		player_wake_collector(player);
}

static inline void player_end(struct record_ring *ring)
{
	__atomic_store_n(&ring->busy, 0, __ATOMIC_RELEASE);
}

static inline void player_event(const struct player *player, struct record_ring *ring,
                                uint32_t kind, uint64_t address, uint64_t bytes, uint32_t node)
{
	player_make_room(player, ring, 1);
	player_begin(ring);
	player_put(player, ring, player_ticks(player), kind, address, bytes, node, 0);
	player_end(ring);
}

// The text goes behind the event in pieces of 24 bytes.
static inline void player_event_text(const struct player *player, struct record_ring *ring,
                                     uint32_t kind, uint64_t address, uint64_t bytes,
                                     const char *text)
{
	size_t length = strlen(text) + 1;
	uint64_t ticks;

	player_make_room(player, ring, (uint32_t)(1 + (length + 23) / 24));
	player_begin(ring);
	ticks = player_ticks(player);
	player_put(player, ring, ticks, kind, address, bytes, 0, 0);
	for (size_t at = 0; at < length; at += 24) {
		struct record_event part = { 0 };

		memcpy(&part.address, text + at, length - at < 24 ? length - at : 24);
		player_put(player, ring, ticks, RECORD_TEXT, part.address, part.bytes, part.node,
		           part.extra);
	}
	player_end(ring);
}

static inline uint32_t player_node(const struct player *player, uint32_t parent, uint64_t code)
{
	uint32_t id = __atomic_fetch_add(&player->header->node_count, 1, __ATOMIC_SEQ_CST);
	struct record_node *node = &player_nodes(player)[id];

	node->parent = parent;
	__atomic_store_n(&node->code, code, __ATOMIC_RELEASE);
	return id;
}

static inline uint32_t player_module(const struct player *player, uint64_t start, uint64_t end,
                                     const char *path)
{
	uint32_t id = __atomic_fetch_add(&player->header->module_count, 1, __ATOMIC_SEQ_CST);
	struct record_module *module = &player_modules(player)[id];

	module->start = start;
	module->end = end;
	module->build_id_bytes = 2;
	module->build_id[0] = 0xab;
	snprintf(module->path, sizeof(module->path), "%s", path);
	__atomic_store_n(&module->loaded, player_ticks(player) + 1, __ATOMIC_RELEASE);
	return id;
}
