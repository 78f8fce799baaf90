// SPDX-License-Identifier: MIT
// The header that all tools share, in the form macOS users know, and what every
// report says before its answer: warnings, allocators that cannot be read, damage.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "os/os.h"
#include "base/text.h"
#include "report/report.h"
#include "report/stacks.h"

static const char *const kind_names[] = {
	[TARGET_LIVE] = "live",
	[TARGET_CLONE] = "clone",
	[TARGET_CORE] = "core",
	[TARGET_SNAPSHOT] = "snapshot",
};

static const char *const kind_titles[] = {
	[TARGET_LIVE] = "live process",
	[TARGET_CLONE] = "live process (read through a clone)",
	[TARGET_CORE] = "core file",
	[TARGET_SNAPSHOT] = "snapshot file",
};

const char *report_code_type(const char *cpu)
{
	if (!strcmp(cpu, "x86_64"))
		return "X86-64";
	if (!strcmp(cpu, "aarch64"))
		return "ARM64";
	return cpu;
}

const char *report_time_text(struct arena *arena, uint64_t ns, bool with_ms)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char date[40], zone[16];
	struct tm parts;

	if (!ns || !localtime_r(&seconds, &parts))
		return "unknown";
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &parts);
	strftime(zone, sizeof(zone), "%z", &parts);
	if (!with_ms)
		return arena_format(arena, "%s %s", date, zone);
	return arena_format(arena, "%s.%03u %s", date, (unsigned)(ns / 1000000 % 1000), zone);
}

static const char *printable(const struct look *look, const char *text)
{
	return text ? text_printable(look->arena, text) : "unknown";
}

static void header_process(struct emitter *e, const struct look *look)
{
	const struct target *t = look->target;
	size_t modules = 0;
	const struct symbols_module *module =
		look->symbols ? symbols_modules(look->symbols, &modules) : NULL;

	emit_text(e, "Process:         %s [%d]\n", printable(look, t->name), t->pid);
	emit_text(e, "Path:            %s\n", printable(look, t->path));
	for (size_t i = 0; i < modules; i++)
		if (module[i].executable)
			emit_text(e, "Load Address:    0x%" PRIx64 "\n", module[i].start);
	emit_text(e, "Identifier:      %s\n", printable(look, t->name));
	emit_text(e, "Code Type:       %s\n", report_code_type(t->cpu));
	emit_text(e, "Platform:        Linux\n");
	if (t->parent_pid)
		emit_text(e, "Parent Process:  %s [%d]\n",
		          t->parent_name ? printable(look, t->parent_name) : "???", t->parent_pid);
	emit_text(e, "Target Type:     %s\n", kind_titles[t->kind]);
	if (t->source)
		emit_text(e, "Read from:       %s\n", printable(look, t->source));
	emit_text(e, "\n");
}

static void header_machine(struct emitter *e, const struct look *look)
{
	const struct target *t = look->target;

	emit_text(e, "Date/Time:       %s\n", report_time_text(look->arena, t->looked_ns, true));
	emit_text(e, "Launch Time:     %s\n", report_time_text(look->arena, t->launched_ns, false));
	emit_text(e, "OS Version:      %s\n", printable(look, os_version_text(look->arena)));
	emit_text(e, "Report Version:  7\n");
	emit_text(e, "Analysis Tool:   %s\n", printable(look, os_self_path(look->arena)));
	emit_text(e, "Analysis Tool Version:  Heapwright " HEAPWRIGHT_VERSION "\n\n");
}

static void header_footprint(struct emitter *e, const struct target *target)
{
	char size[TEXT_SIZE_BYTES];

	if (!target->footprint_bytes)
		return;
	emit_text(e, "Physical footprint:         %s\n",
	          text_size_k(target->footprint_bytes, size));
	if (target->footprint_peak_bytes)
		emit_text(e, "Physical footprint (peak):  %s\n",
		          text_size_k(target->footprint_peak_bytes, size));
}

// Said in every report, -quiet or not: what the answer below does not cover.
static void header_limits(struct emitter *e, const struct look *look)
{
	const struct heaps *heaps = look->heaps;

	emit_array(e, "warnings");
	for (size_t i = 0; i < look->target->warning_count; i++)
		emit_string(e, NULL, look->target->warnings[i], "Warning: %s.\n");
	if (look->regions && look->regions->warning)
		emit_string(e, NULL, look->regions->warning, "Warning: %s.\n");
	emit_array_end(e);
	emit_array(e, "unknown_allocators");
	for (size_t i = 0; heaps && i < heaps->unknown_count; i++) {
		bool named = strcmp(heaps->unknown[i].name, "unknown") != 0;

		emit_object(e, NULL);
		emit_string(
			e, "name", heaps->unknown[i].name,
			named ? "Warning: this process uses an allocator that cannot be read yet: %s"
			      : "Warning: no heap can be read");
		emit_string(e, "evidence", heaps->unknown[i].evidence,
		            named ? " (%s).\n" : ": %s.\n");
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_array(e, "heap_faults");
	for (size_t i = 0; heaps && i < heaps->fault_count; i++) {
		const struct heap_fault *fault = &heaps->faults[i];

		emit_object(e, NULL);
		emit_string(e, "zone", report_zone_name(heaps, fault->zone, look->arena), NULL);
		emit_address(e, "address", fault->address, NULL);
		emit_string(e, "what", fault->what, NULL);
		emit_address(e, "expected", fault->expected, NULL);
		emit_address(e, "found", fault->found, NULL);
		emit_address(e, "block_before", fault->block_before, NULL);
		emit_string(e, "text", fault->text, "Heap damage: %s.\n");
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void header_json(struct emitter *e, const struct look *look)
{
	const struct target *t = look->target;

	emit_object(e, "target");
	emit_u64(e, "pid", (uint64_t)t->pid, NULL);
	emit_string(e, "name", t->name, NULL);
	emit_string(e, "kind", kind_names[t->kind], NULL);
	emit_known_double(e, "stopped_ms", t->has_stop, t->stopped_ms, NULL);
	emit_string(e, "how", t->how, NULL);
	emit_string(e, "path", t->path, NULL);
	emit_string(e, "source", t->source, NULL);
	emit_string(e, "cpu", t->cpu, NULL);
	emit_u64(e, "word_bytes", t->word_bytes, NULL);
	emit_u64(e, "threads", t->thread_count, NULL);
	emit_u64(e, "footprint_bytes", t->footprint_bytes, NULL);
	emit_u64(e, "footprint_peak_bytes", t->footprint_peak_bytes, NULL);
	emit_bool(e, "complete", t->complete, NULL);
	emit_object_end(e);
}

static void header_verbose(struct emitter *e, const struct look *look)
{
	const struct target *t = look->target;
	size_t count = 0;
	const char *const *warnings =
		look->symbols ? symbols_warnings(look->symbols, &count) : NULL;

	emit_text(e, "How read: %s\n", printable(look, t->how));
	if (t->has_stop)
		emit_text(e, "The target stood still for %.2f ms.\n", t->stopped_ms);
	if (look->heaps && look->heaps->how)
		emit_text(e, "Heaps: %s\n", printable(look, look->heaps->how));
	if (look->graph && look->graph->how)
		emit_text(e, "Search: %s\n", printable(look, look->graph->how));
	for (size_t i = 0; i < count; i++)
		emit_text(e, "Symbols: %s\n", warnings[i]);
	emit_text(e, "----\n\n");
}

void report_header(struct emitter *e, const struct look *look, const struct report_options *options)
{
	emit_string(e, "tool", options->tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	header_json(e, look);
	if (!options->quiet) {
		header_process(e, look);
		header_machine(e, look);
		header_footprint(e, look->target);
		emit_text(e, "----\n\n");
	}
	if (options->verbose)
		header_verbose(e, look);
	header_limits(e, look);
}

void report_servers(struct emitter *e, const struct look *look)
{
	const char *trouble = look->symbols ? symbols_server_trouble(look->symbols) : NULL;

	if (!trouble)
		trouble = stack_log_server_trouble(look);
	if (trouble)
		emit_string(e, "symbol_servers", trouble, "\n%s\n");
}

void report_messages(struct emitter *e, const struct look *look)
{
	const struct heaps *heaps = look->heaps;

	if (heaps->message_count)
		emit_text(e, "Messages of the malloc library:\n");
	if (heaps->message_total > heaps->message_count)
		emit_text(e, "    (the last %zu of %" PRIu64 ")\n", heaps->message_count,
		          heaps->message_total);
	emit_array(e, "malloc_messages");
	for (size_t i = 0; i < heaps->message_count; i++)
		emit_string(e, NULL, heaps->messages[i], "    %s\n");
	emit_array_end(e);
	if (heaps->message_count)
		emit_text(e, "\n");
}

void report_images(struct emitter *e, const struct look *look)
{
	size_t count = 0;
	const struct symbols_module *modules = symbols_modules(look->symbols, &count);

	emit_text(e, "\nBinary Images:\n");
	emit_array(e, "images");
	for (size_t i = 0; i < count; i++) {
		const struct target_file *file = modules[i].file;
		char id[2 * sizeof(file->build_id) + 1] = "";

		if (file)
			text_hex(file->build_id, file->build_id_bytes, id);
		emit_object(e, NULL);
		emit_address(e, "start", modules[i].start, "%#18" PRIx64);
		emit_address(e, "end", modules[i].end - 1, " - %#18" PRIx64);
		emit_string(e, "name", modules[i].name, modules[i].executable ? " +%s" : "  %s");
		emit_string(e, "build_id", id, *id ? " <%s>" : NULL);
		emit_string(e, "path", modules[i].path, "  %s\n");
		emit_object_end(e);
	}
	emit_array_end(e);
}

int report_completeness(const struct look *look)
{
	if (!look->target->complete)
		return EXIT_PARTLY;
	if (look->heaps && (look->heaps->unknown_count || look->heaps->fault_count))
		return EXIT_PARTLY;
	if (look->regions && look->regions->warning)
		return EXIT_PARTLY;
	return EXIT_FINE;
}

struct target_options report_target_options(const struct report_options *options, unsigned want)
{
	return (struct target_options){
		.want = want,
		.no_inject = options->no_inject,
		.force_clone = options->force_clone,
		.accepts =
			"a process id, a (part of a) process name, a core file or a snapshot file",
	};
}

const char *report_zone_name(const struct heaps *heaps, unsigned zone, struct arena *arena)
{
	if (zone >= heaps->zone_count)
		return "unknown";
	if (!heaps->zones[zone].address)
		return heaps->zones[zone].name;
	return arena_format(arena, "%s_0x%" PRIx64, heaps->zones[zone].name,
	                    heaps->zones[zone].address);
}

static const char *root_value_text(struct look *look, const struct root_value *value)
{
	const char *what = value->what ? value->what : "vector register";

	if (value->thread < 0 || (size_t)value->thread >= look->target->thread_count)
		return what;
	return arena_format(look->arena, "%s of thread %d", what,
	                    look->target->threads[value->thread].tid);
}

const char *report_root_text(struct look *look, const struct graph_reference *reference)
{
	if (reference->root_value)
		return root_value_text(look, reference->root_value);
	return regions_describe(look->regions, look->symbols, look->arena, reference->root);
}
