// SPDX-License-Identifier: MIT
// What monitor.c and monitor_json.c share.
#pragma once

#include "monitor/monitor.h"
#include "report/report.h"

// An object for the last sample of a view, into an open array; at most so many processes.
void monitor_emit_sample(struct emitter *e, const struct monitor_view *view, size_t most);
