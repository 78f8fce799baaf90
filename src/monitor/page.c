// SPDX-License-Identifier: MIT
// The lines of a page: the machine on top, processes below (monitor.h). The same for the screen, for text
// that goes into a pipe, and for recordings.
#include "monitor/line_impl.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define CELL_COLUMNS        26 // label, value, curve
#define PID_COLUMNS         7
#define LEAST_PROCESS_LINES 6 // that a low screen keeps for them, with heading and status
#define NAME_COLUMNS        14

struct printer {
	const struct monitor_view *view;
	const struct monitor_page *page;
	void (*line)(void *context, enum monitor_style style, const char *text);
	void *context;
	struct line text;
	unsigned lines;
};

static void begin(struct printer *printer)
{
	line_begin(&printer->text, printer->page->width, printer->page->utf8);
}

static void end(struct printer *printer, enum monitor_style style)
{
	if (printer->page->height && printer->lines >= printer->page->height)
		return;
	printer->text.bytes[printer->text.n] = '\0';
	printer->line(printer->context, style, printer->text.bytes);
	printer->lines++;
}

void monitor_time_text(uint64_t wall_ns, char ret[32])
{
	time_t seconds = (time_t)(wall_ns / 1000000000);
	struct tm parts;

	if (!wall_ns || !localtime_r(&seconds, &parts) ||
	    !strftime(ret, 32, "%Y-%m-%d %H:%M:%S", &parts))
		strcpy(ret, "unknown");
}

// --- the machine -----------------------------------------------------------------------------------
static void print_title(struct printer *printer)
{
	char when[32];

	begin(printer);
	line_put_name(&printer->text, printer->page->title,
	              printer->page->width > 34 ? printer->page->width - 34 : 10);
	monitor_time_text(printer->view->wall_ns, when);
	line_put(&printer->text, " %s  every %.3gs", when,
	         (double)printer->page->interval_ns / 1e9);
	end(printer, MONITOR_TITLE);
}

static void print_pressure(struct printer *printer)
{
	const struct monitor_view *view = printer->view;
	const struct monitor_verdict *verdict = &view->verdict;
	const struct line_curve curve = { .values = view->stall_curve,
		                          .points = view->points,
		                          .full = 10 };
	bool is_calm = view->level == MACHINE_NORMAL && !verdict->is_thrashing;
	char level[16];

	begin(printer);
	snprintf(level, sizeof(level), "%s", machine_level_name(view->level));
	for (char *at = level; !is_calm && *at; at++)
		*at = (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
	line_put(&printer->text, "Pressure  %-8s", level);
	if (verdict->has_stall)
		line_put(&printer->text, "  some waited %.1f%%, all %.1f%%", verdict->some_percent,
		         verdict->full_percent);
	else
		line_put(&printer->text, "  waiting is not measured");
	if (verdict->is_thrashing)
		line_put(&printer->text, "  THRASHING");
	line_fill(&printer->text, 61);
	line_put(&printer->text, " ");
	if (verdict->has_stall && printer->page->width > 63)
		line_put_curve(&printer->text, &curve, printer->page->width - 62 - 2);
	end(printer, is_calm ? MONITOR_PLAIN : MONITOR_ALARM);
}

// What stands in the cells, three in a line of 80 columns.
static const struct cell {
	const char *label;
	enum monitor_number number;
} cells[] = {
	{ "Free", MONITOR_FREE },
	{ "Active", MONITOR_ACTIVE },
	{ "Inactive", MONITOR_INACTIVE },
	{ "Wired", MONITOR_WIRED },
	{ "Cached", MONITOR_CACHED },
	{ "Anonym.", MONITOR_ANONYMOUS },
	{ "Dirty", MONITOR_DIRTY },
	{ "Compress", MONITOR_COMPRESSED },
	{ "Swapped", MONITOR_SWAP_USED },
	{ "Faults/s", MONITOR_FAULTS },
	{ "Hard/s", MONITOR_HARD_FAULTS },
	{ "Refault/s", MONITOR_REFAULTED },
	{ "Pagein/s", MONITOR_PAGED_IN },
	{ "Pageout/s", MONITOR_PAGED_OUT },
	{ "Reclaim/s", MONITOR_RECLAIMED },
	{ "Swapin/s", MONITOR_SWAPPED_IN },
	{ "Swapout/s", MONITOR_SWAPPED_OUT },
};

static void put_cell(struct printer *printer, const struct cell *cell, unsigned wide)
{
	const struct monitor_view *view = printer->view;
	const struct monitor_number_row *row = &monitor_number_rows[cell->number];
	double value = row->is_total ? view->rate[cell->number]
	                             : (double)view->numbers.value[cell->number];
	struct line_curve curve = { .values = view->curve[cell->number], .points = view->points };
	char text[LINE_NUMBER_BYTES] = "n/a";

	if (!row->is_total && view->numbers.is_known[MONITOR_SIZE])
		curve.full = (double)view->numbers.value[MONITOR_SIZE];
	if (view->numbers.is_known[cell->number])
		row->unit == MONITOR_BYTES ? line_size(value, text) : line_count(value, text);
	line_put(&printer->text, "%-9s%6s ", cell->label, text);
	if (view->numbers.is_known[cell->number])
		line_put_curve(&printer->text, &curve, wide - 17);
}

static void print_cells(struct printer *printer)
{
	const size_t count = sizeof(cells) / sizeof(cells[0]);
	unsigned across = printer->page->width / CELL_COLUMNS, wide;

	if (across < 1)
		across = 1;
	if (across > 6)
		across = 6;
	across = across > 3 && across < 6 ? 3 : across; // the rows belong together
	wide = printer->page->width / across;
	if (wide < CELL_COLUMNS)
		wide = CELL_COLUMNS;
	for (size_t i = 0; i < count; i += across) {
		if (printer->page->height &&
		    printer->lines + LEAST_PROCESS_LINES >= printer->page->height)
			return;
		begin(printer);
		for (size_t k = i; k < count && k < i + across; k++) {
			line_fill(&printer->text, (unsigned)(k - i) * wide);
			put_cell(printer, &cells[k], wide);
		}
		end(printer, MONITOR_PLAIN);
	}
}

static void print_memory(struct printer *printer)
{
	const struct monitor_numbers *numbers = &printer->view->numbers;
	char size[LINE_NUMBER_BYTES], available[LINE_NUMBER_BYTES], swap[LINE_NUMBER_BYTES];

	begin(printer);
	line_put(&printer->text, "Memory %s, %s available; swap %s; %" PRIu64 " process%s",
	         line_size((double)numbers->value[MONITOR_SIZE], size),
	         line_size((double)numbers->value[MONITOR_AVAILABLE], available),
	         line_size((double)numbers->value[MONITOR_SWAP_SIZE], swap),
	         printer->view->process_count, printer->view->process_count == 1 ? "" : "es");
	if (numbers->value[MONITOR_OOM_KILLS])
		line_put(&printer->text, "; %" PRIu64 " OOM kills",
		         numbers->value[MONITOR_OOM_KILLS]);
	end(printer, MONITOR_PLAIN);
}

// --- processes -------------------------------------------------------------------------------------
enum { COLUMN_FOOTPRINT, COLUMN_GROWTH, COLUMN_RESIDENT, COLUMN_SWAP, COLUMN_FAULTS, COLUMN_HARD };

static const struct column {
	const char *title;
	int columns; // with the blank before it
	enum monitor_order order;
} columns[] = {
	[COLUMN_FOOTPRINT] = { "FOOTPRINT", 10, MONITOR_BY_FOOTPRINT },
	[COLUMN_GROWTH] = { "GROWTH", 9, MONITOR_BY_GROWTH },
	[COLUMN_RESIDENT] = { "RESIDENT", 10, MONITOR_BY_RESIDENT },
	[COLUMN_SWAP] = { "SWAP", 7, MONITOR_BY_SWAP },
	[COLUMN_FAULTS] = { "FAULTS/s", 10, MONITOR_BY_FAULTS },
	[COLUMN_HARD] = { "HARD", 6, MONITOR_ORDER_COUNT },
};

// The column that sorts is marked.
static void put_title(struct printer *printer, const char *title, int width,
                      enum monitor_order order)
{
	char text[32];

	snprintf(text, sizeof(text), "%s%s", printer->page->order == order ? "*" : "", title);
	line_put(&printer->text, "%*s", width, text);
}

static void print_heading(struct printer *printer)
{
	begin(printer);
	put_title(printer, "PID", PID_COLUMNS, MONITOR_BY_PID);
	line_put(&printer->text, " ");
	put_title(printer, "NAME", -NAME_COLUMNS, MONITOR_BY_NAME);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		put_title(printer, columns[i].title, columns[i].columns, columns[i].order);
	line_fill(&printer->text, printer->page->width);
	end(printer, MONITOR_HEADING);
}

static const char *growth_text(int64_t bytes, char ret[LINE_NUMBER_BYTES])
{
	char size[LINE_NUMBER_BYTES];

	if (!bytes)
		return strcpy(ret, "0");
	line_size(bytes < 0 ? -(double)bytes : (double)bytes, size);
	snprintf(ret, LINE_NUMBER_BYTES, "%c%.12s", bytes < 0 ? '-' : '+', size);
	return ret;
}

static void put_value(struct printer *printer, size_t column, const char *text)
{
	line_put(&printer->text, "%*s", columns[column].columns, text);
}

static void print_row(struct printer *printer, const struct monitor_row *row)
{
	const struct monitor_process *process = &row->process;
	const struct line_curve curve = { .whole_values = row->curve, .points = row->points };
	char text[LINE_NUMBER_BYTES];

	begin(printer);
	line_put(&printer->text, "%*d ", PID_COLUMNS, process->pid);
	line_put_name(&printer->text, process->name, NAME_COLUMNS);
	put_value(printer, COLUMN_FOOTPRINT, line_size((double)process->footprint_bytes, text));
	put_value(printer, COLUMN_GROWTH, growth_text(row->growth_bytes, text));
	put_value(printer, COLUMN_RESIDENT, line_size((double)process->resident_bytes, text));
	put_value(printer, COLUMN_SWAP, line_size((double)process->swapped_bytes, text));
	put_value(printer, COLUMN_FAULTS, line_count(row->faults, text));
	put_value(printer, COLUMN_HARD, line_count(row->hard, text));
	line_put(&printer->text, " ");
	if (printer->page->width > printer->text.columns)
		line_put_curve(&printer->text, &curve,
		               printer->page->width - printer->text.columns);
	end(printer, MONITOR_PLAIN);
}

static void print_processes(struct printer *printer)
{
	const struct monitor_view *view = printer->view;
	const struct monitor_page *page = printer->page;
	size_t most = page->most_processes ? page->most_processes : SIZE_MAX;

	print_heading(printer);
	for (size_t i = page->scroll; i < view->row_count && i - page->scroll < most; i++) {
		if (page->height && printer->lines + 1 >= page->height)
			break;
		print_row(printer, &view->rows.v[i]);
	}
}

void monitor_page_write(const struct monitor_view *view, const struct monitor_page *page,
                        void (*line)(void *context, enum monitor_style style, const char *text),
                        void *context)
{
	struct printer printer = { .view = view, .page = page, .line = line, .context = context };

	print_title(&printer);
	print_pressure(&printer);
	print_memory(&printer);
	print_cells(&printer);
	print_processes(&printer);
	if (!page->status)
		return;
	for (begin(&printer); page->height && printer.lines + 1 < page->height;)
		end(&printer, MONITOR_PLAIN);
	line_put_name(&printer.text, page->status, page->width);
	end(&printer, MONITOR_TITLE);
}

// --- help ------------------------------------------------------------------------------------------
static const char *const help[] = {
	"heapwright monitor: keys",
	"",
	"  q        end                        h ?      this page; any key leaves it",
	"  d        interval in seconds        space    pause and go on",
	"  f M      sort by footprint          g        by growth",
	"  x        by faults                  r        by resident memory",
	"  s        by swap                    n p      by name, by number",
	"  R        the other way round        z        count growth from now on",
	"  up down  scroll a line              page up, page down, home",
	"",
	"FOOTPRINT  what would be free if the process ended: anonymous memory and swap",
	"GROWTH     its change since the monitor, or the process, started (or since z)",
	"FAULTS/s   page faults; HARD those that had to read",
	"Curves     the last samples, newest right; those of memory against all memory",
	"Pressure   normal, WARNING, CRITICAL: docs/monitor.md has the rules",
	"THRASHING  pages are taken away and needed again, and all tasks wait for it",
};

static const char *const help_recorded[] = {
	"",
	"  left right   a sample back and forth       [ ]   sixty samples",
	"  < >          the first and the last one    space plays",
};

void monitor_help_write(const struct monitor_page *page, bool recorded,
                        void (*line)(void *context, enum monitor_style style, const char *text),
                        void *context)
{
	struct printer printer = { .page = page, .line = line, .context = context };
	const size_t count = sizeof(help) / sizeof(help[0]);
	const size_t more = recorded ? sizeof(help_recorded) / sizeof(help_recorded[0]) : 0;

	for (size_t i = 0; i < count + more; i++) {
		begin(&printer);
		line_put(&printer.text, "%s", i < count ? help[i] : help_recorded[i - count]);
		end(&printer, i ? MONITOR_PLAIN : MONITOR_TITLE);
	}
}
