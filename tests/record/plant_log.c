// SPDX-License-Identifier: MIT
// Writes a recording of a program that never ran: itself. Stacks are made of its own functions, so that a
// tool must find their names in this file; what happened is told on standard output, as JSON.
//
// usage: plant_log LOG [gap|sampled|cut]
#include <elf.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"

#define MAIN_THREAD 4000
#define WORKER      4001
#define SECOND_NS   1000000000u

// --- functions that only lend their names -----------------------------------------------------------------
__attribute__((noinline, used)) static int parse_file(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	return n + 1;
}

__attribute__((noinline, used)) static int make_node(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	return n + 2;
}

__attribute__((noinline, used)) static int free_nodes(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	return n + 3;
}

__attribute__((noinline, used)) static int descend(int n)
{
	__asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	return n + 4;
}

// --- the log ----------------------------------------------------------------------------------------------
enum node { NONE, MAIN, PARSE, MAKE, FREE_, DESCEND_1, DESCEND_2, DESCEND_3, LIBC, NODES };

struct plant {
	struct log_writer *writer;
	struct log_event events[4096];
	struct log_text texts[16];
	size_t n, text_count;
	uint64_t lost;
};

static void must(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "plant_log: %s\n", error->text);
	exit(2);
}

static void take_build_id(const struct dl_phdr_info *info, struct log_module *module)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const char *at = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		const char *end = at + info->dlpi_phdr[i].p_memsz;

		while (info->dlpi_phdr[i].p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) < end) {
			const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;

			at += sizeof(*note) + (note->n_namesz + 3) / 4 * 4;
			if (note->n_type == NT_GNU_BUILD_ID &&
			    note->n_descsz <= sizeof(module->build_id)) {
				memcpy(module->build_id, at, note->n_descsz);
				module->build_id_bytes = note->n_descsz;
			}
			at += (note->n_descsz + 3) / 4 * 4;
		}
	}
}

static int write_module(struct dl_phdr_info *info, size_t bytes, void *context)
{
	struct log_module module = { .bias = info->dlpi_addr,
		                     .start = UINT64_MAX,
		                     .unloaded_ns = UINT64_MAX,
		                     .path = info->dlpi_name };
	static char own[4096];

	(void)bytes;
	if (!*info->dlpi_name && readlink("/proc/self/exe", own, sizeof(own) - 1) > 0)
		module.path = own;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		if (start < module.start)
			module.start = start & ~UINT64_C(4095);
		module.end = (start + info->dlpi_phdr[i].p_memsz + 4095) & ~UINT64_C(4095);
	}
	take_build_id(info, &module);
	must(log_write_module(((struct plant *)context)->writer, &module));
	return 0;
}

static void write_tables(struct plant *plant)
{
	const struct log_node nodes[] = {
		{ (uintptr_t)abort + 4 }, // of libc, also in an instrumented program
		{ 0 },
	};
	const uint64_t calls[NODES] = {
		[MAIN] = (uintptr_t)write_module + 8, // stands for an outermost function
		[PARSE] = (uintptr_t)parse_file + 6,
		[MAKE] = (uintptr_t)make_node + 6,
		[FREE_] = (uintptr_t)free_nodes + 6,
		[DESCEND_1] = (uintptr_t)descend + 6,
		[DESCEND_2] = (uintptr_t)descend + 6,
		[DESCEND_3] = (uintptr_t)descend + 6,
		[LIBC] = nodes[0].code,
	};
	const uint32_t parents[NODES] = {
		[PARSE] = MAIN,      [MAKE] = PARSE,          [FREE_] = MAIN,
		[DESCEND_1] = PARSE, [DESCEND_2] = DESCEND_1, [DESCEND_3] = DESCEND_2,
		[LIBC] = MAKE
	};
	uint32_t index;

	dl_iterate_phdr(write_module, plant);
	for (int i = 1; i < NODES; i++)
		must(log_write_nodes(plant->writer, &(struct log_node){ calls[i], parents[i] }, 1));
	must(log_write_thread(plant->writer, &(struct log_thread){ MAIN_THREAD, 0, "main" },
	                      &index));
	must(log_write_thread(plant->writer, &(struct log_thread){ WORKER, 0, "worker" }, &index));
}

static struct log_event *add(struct plant *plant, uint8_t kind, uint64_t address, uint64_t bytes,
                             uint32_t node, uint32_t thread)
{
	struct log_event *event = &plant->events[plant->n];

	*event = (struct log_event){ .time_ns = plant->n * SECOND_NS / 100,
		                     .address = address,
		                     .bytes = bytes,
		                     .node = node,
		                     .thread = thread,
		                     .kind = kind };
	plant->n++;
	return event;
}

static void mark(struct plant *plant, const char *name)
{
	plant->texts[plant->text_count++] = (struct log_text){ plant->n, name };
	add(plant, RECORD_MARK, 0, 0, MAIN, 0);
}

// Address A has three owners; B is a leak; 100 small blocks, of which the worker frees 40; a mapping.
static void happen(struct plant *plant, bool gap)
{
	const uint64_t a = 0x555555560000, b = 0x555555570000, small = 0x555555580000;

	add(plant, RECORD_MALLOC, a, 128, MAKE, 0);
	add(plant, RECORD_FREE, a, 0, FREE_, 1);
	add(plant, RECORD_CALLOC, a, 64, DESCEND_3, 0);
	add(plant, RECORD_REALLOC_FREE, a, 0, PARSE, 0);
	add(plant, RECORD_REALLOC, a, 96, PARSE, 0);
	mark(plant, "warm");
	add(plant, RECORD_MALLOC, b, 4096, LIBC, 1);
	for (uint64_t i = 0; i < 100; i++)
		add(plant, RECORD_MALLOC, small + i * 32, 24, MAKE, 0);
	if (gap) {
		add(plant, RECORD_GAP, 0, 9, 0, 1)->extra = 1;
		plant->lost = 9;
	}
	add(plant, RECORD_MAP, 0x7f5500000000, 65536, PARSE, 0);
	for (uint64_t i = 0; i < 40; i++)
		add(plant, RECORD_FREE, small + i * 32, 0, FREE_, 1);
	mark(plant, "done");
	add(plant, RECORD_MALLOC, 0x555555590000, 1000, DESCEND_1, 1);
}

static void write_events(struct plant *plant)
{
	struct log_summary summary = { .live_blocks = 63,
		                       .live_bytes = 96 + 4096 + 60 * 24 + 1000,
		                       .map_bytes = 65536,
		                       .peak_bytes = 96 + 4096 + 100 * 24,
		                       .peak_event = 106,
		                       .lost = plant->lost };
	static const char leaks[] = "{\"tool\": \"leaks\", \"leaks\": [{\"address\": "
				    "\"0x555555570000\", \"size_bytes\": 4096}]}";

	must(log_write_events(plant->writer, plant->events, plant->n, plant->texts,
	                      plant->text_count, &summary));
	must(log_write_note(plant->writer, LOG_NOTE_LEAKS, plant->events[plant->n - 1].time_ns,
	                    leaks, sizeof(leaks) - 1));
}

int main(int argc, char **argv)
{
	static struct plant plant;
	const char *how = argc > 2 ? argv[2] : "";
	struct log_process process = { .id = MAIN_THREAD,
		                       .mode = RECORD_FULL,
		                       .what = RECORD_WHAT_MALLOC | RECORD_WHAT_VM,
		                       .wall_ns = UINT64_C(1790000000) * SECOND_NS,
		                       .launched_ns = UINT64_C(1790000000) * SECOND_NS,
		                       .name = "planted",
		                       .path = argv[0],
		                       .command_line = argv[0],
		                       .host = "here",
		                       .system = "Linux",
		                       .cpu = "x86_64" };

	if (argc < 2)
		return 64;
	if (!strcmp(how, "cut")) // its number is another process's by now
		process.id = getppid();
	if (!strcmp(how, "sampled")) {
		process.mode = RECORD_SAMPLED;
		process.sample_bytes = 4096;
	}
	must(log_create(argv[1], true, &process, &plant.writer));
	write_tables(&plant);
	happen(&plant, !strcmp(how, "gap"));
	write_events(&plant);
	if (strcmp(how, "cut"))
		must(log_close_writer(plant.writer));
	printf("%d\n", parse_file(0) + make_node(0) + free_nodes(0) + descend(0));
	fflush(stdout);
	_exit(0); // as if killed: a log that was cut has a writer still
}
