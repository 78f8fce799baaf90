// SPDX-License-Identifier: MIT
// The records of a dumped trace (dump_trace.c), read by log_bench.c.
#pragma once

#include <stdint.h>

enum {
	TRACE_NODE = 200, // the next node: address is the pc, node the parent
};

struct trace_event {
	uint64_t time_ns, address;
	uint64_t bytes; // of a free: its first word if that points into a module, else 0
	uint32_t node, thread;
	uint32_t extra;
	uint32_t kind; // enum record_kind or TRACE_NODE
};
