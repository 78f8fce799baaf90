// SPDX-License-Identifier: MIT
// What the files of vm_stat share.
#pragma once

#include "machine/machine.h"
#include "report/report.h"

// One row of what is looked at: the machine, or a control group of it.
struct vm_stat_look {
	struct machine_sample sample;
	struct machine_group group; // when one was asked for
	bool has_group;
	bool is_difference; // since the look before
};

// The counters that the lines are made of.
const struct machine_counters *vm_stat_counters(const struct vm_stat_look *look);

// "12345", or "12K" and so on by 1,000 when it would not fit into width columns. In buffer.
char *vm_stat_scaled(uint64_t value, unsigned width, char buffer[32]);

// --- vm_stat_lines.c: the 22 lines, or those of 2008.
void vm_stat_emit_lines(struct emitter *e, const struct vm_stat_look *look,
                        const struct vm_stat_settings *settings);
void vm_stat_emit_banner(struct emitter *e, const struct vm_stat_look *look,
                         const struct vm_stat_settings *settings);

// --- vm_stat_rows.c: the same as a row of a table.
void vm_stat_emit_row(struct emitter *e, const struct vm_stat_look *look,
                      const struct vm_stat_settings *settings, uint64_t number);

// --- vm_stat_more.c: what only Linux counts. In JSON always.
void vm_stat_emit_more(struct emitter *e, const struct vm_stat_look *look, bool in_text);

// --- vm_stat_parts.c: nodes and zones, a control group, processes.
struct error *vm_stat_emit_nodes(struct emitter *e, const char *root);
void vm_stat_emit_group(struct emitter *e, const struct machine_group *group);
struct error *vm_stat_processes(const struct vm_stat_settings *settings, int *ret_exit);
