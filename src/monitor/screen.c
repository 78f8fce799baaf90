// SPDX-License-Identifier: MIT
// The page on a terminal, with keys (monitor.h). One loop: it waits for a key, an interrupt or the next
// sample, whichever is first, and draws the whole page again; ncurses sends what differs. Interrupts come
// through a descriptor, so that the terminal is always given back as it was.
#include "monitor/monitor.h"

#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "os/os.h"

#define STEP_SAMPLES   60
#define LEAST_INTERVAL 100000000u // 0.1 s
#define KEY_ESCAPE     27
#define KEY_REDRAW     12 // control L: everything again

struct state {
	const struct monitor_screen *screen;
	struct monitor_view view;
	struct monitor_sample sample;
	uint64_t interval_ns, next_ns; // monotonic time of the next sample
	enum monitor_order order;
	bool reversed, is_paused, shows_help, is_asking, utf8, is_over;
	char answer[16]; // the interval that is being typed
	size_t answer_n;
	size_t scroll, at; // at: sample of a recording, as a number
	int page_lines;    // processes that fit
	unsigned row;
	const char *title;
	char status[200];
};

bool monitor_locale_utf8(void)
{
	return setlocale(LC_ALL, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
}

// --- drawing ---------------------------------------------------------------------------------------
static void draw_line(void *context, enum monitor_style style, const char *text)
{
	static const attr_t attributes[] = {
		[MONITOR_PLAIN] = A_NORMAL,
		[MONITOR_TITLE] = A_BOLD,
		[MONITOR_HEADING] = A_REVERSE,
		[MONITOR_ALARM] = A_REVERSE | A_BOLD,
	};
	struct state *state = context;

	attrset(attributes[style]);
	mvaddstr((int)state->row++, 0, text);
}

static void make_status(struct state *state)
{
	const struct monitor_file *file = state->screen->file;
	int n = 0;

	if (state->is_asking) {
		snprintf(state->status, sizeof(state->status), "Interval in seconds: %s_",
		         state->answer);
		return;
	}
	if (file)
		n = snprintf(state->status, sizeof(state->status), "Sample %zu of %zu%s%s   ",
		             state->at + 1, file->samples.n, file->is_cut ? " (not finished)" : "",
		             state->is_paused ? "" : ", playing");
	else if (state->is_paused)
		n = snprintf(state->status, sizeof(state->status), "PAUSED   ");
	snprintf(state->status + n, sizeof(state->status) - (size_t)n,
	         "q end  h help  d interval  f g x r s n p sort  %s",
	         state->screen->recorder ? "(recording)" : "space pause");
}

static void draw(struct state *state)
{
	struct monitor_page page = {
		.width = (unsigned)COLS,
		.height = (unsigned)LINES,
		.utf8 = state->utf8,
		.title = state->title,
		.status = state->status,
		.order = state->order,
		.reversed = state->reversed,
		.scroll = state->scroll,
		.interval_ns = state->interval_ns,
	};

	state->row = 0;
	erase();
	if (state->shows_help) {
		monitor_help_write(&page, state->screen->file != NULL, draw_line, state);
	} else {
		make_status(state);
		monitor_view_sort(&state->view, state->order, state->reversed);
		monitor_page_write(&state->view, &page, draw_line, state);
	}
	attrset(A_NORMAL);
	move(LINES - 1, 0);
	refresh();
}

// --- samples ---------------------------------------------------------------------------------------
static struct error *take_live(struct state *state)
{
	const struct monitor_screen *screen = state->screen;

	TRY(monitor_live_take(screen->live, &state->sample));
	monitor_view_add(&state->view, &state->sample);
	if (screen->recorder)
		TRY(monitor_record_add(screen->recorder, &state->sample, &state->view));
	return NULL;
}

// What the view shows depends on the samples before; more than a curve holds change nothing but growth.
static struct error *go_to(struct state *state, size_t at)
{
	const struct monitor_file *file = state->screen->file;
	size_t i = state->at + 1;

	if (at >= file->samples.n)
		at = file->samples.n - 1;
	if (at <= state->at || !state->view.samples) {
		monitor_view_deinit(&state->view);
		monitor_view_init(&state->view);
		i = 0;
	}
	for (; i <= at; i++) {
		TRY(monitor_file_read(file, i, &state->sample));
		monitor_view_add(&state->view, &state->sample);
	}
	state->at = at;
	return NULL;
}

static struct error *next_sample(struct state *state)
{
	state->next_ns = os_monotonic_ns() + state->interval_ns;
	if (!state->screen->file)
		return take_live(state);
	if (state->at + 1 >= state->screen->file->samples.n) {
		state->is_paused = true;
		return NULL;
	}
	return go_to(state, state->at + 1);
}

// --- keys ------------------------------------------------------------------------------------------
static void take_answer(struct state *state, int key)
{
	uint64_t ns;

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		if (state->answer_n && !text_parse_seconds(state->answer, &ns))
			state->interval_ns = ns < LEAST_INTERVAL ? LEAST_INTERVAL : ns;
		state->next_ns = os_monotonic_ns() + state->interval_ns;
		state->is_asking = false;
	} else if (key == KEY_ESCAPE) {
		state->is_asking = false;
	} else if (key == KEY_BACKSPACE || key == '\b' || key == 127) {
		state->answer_n -= state->answer_n > 0;
	} else if ((isdigit(key) || key == '.') && state->answer_n + 1 < sizeof(state->answer)) {
		state->answer[state->answer_n++] = (char)key;
	}
	state->answer[state->answer_n] = '\0';
}

static bool order_key(struct state *state, int key)
{
	static const struct {
		char key;
		enum monitor_order order;
	} keys[] = {
		{ 'f', MONITOR_BY_FOOTPRINT }, { 'M', MONITOR_BY_FOOTPRINT },
		{ 'g', MONITOR_BY_GROWTH },    { 'x', MONITOR_BY_FAULTS },
		{ 'r', MONITOR_BY_RESIDENT },  { 's', MONITOR_BY_SWAP },
		{ 'n', MONITOR_BY_NAME },      { 'p', MONITOR_BY_PID },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (key != keys[i].key)
			continue;
		state->order = keys[i].order;
		return true;
	}
	return false;
}

static void scroll_by(struct state *state, long rows)
{
	size_t most = state->view.row_count ? state->view.row_count - 1 : 0;

	if (rows < 0 && (size_t)-rows > state->scroll)
		state->scroll = 0;
	else
		state->scroll += (size_t)rows;
	if (state->scroll > most)
		state->scroll = most;
}

static struct error *step_key(struct state *state, int key)
{
	const struct monitor_file *file = state->screen->file;
	size_t at = state->at;

	if (!file)
		return NULL;
	switch (key) {
	case KEY_LEFT:
		at -= at > 0;
		break;
	case KEY_RIGHT:
		at++;
		break;
	case '[':
		at -= at < STEP_SAMPLES ? at : STEP_SAMPLES;
		break;
	case ']':
		at += STEP_SAMPLES;
		break;
	case '<':
		at = 0;
		break;
	case '>':
		at = file->samples.n - 1;
		break;
	default:
		return NULL;
	}
	state->is_paused = true;
	return go_to(state, at);
}

static struct error *take_key(struct state *state, int key)
{
	if (state->is_asking) {
		take_answer(state, key);
		return NULL;
	}
	if (state->shows_help && key != KEY_RESIZE) {
		state->shows_help = false;
		return NULL;
	}
	if (order_key(state, key))
		return NULL;
	switch (key) {
	case 'q':
	case 'Q':
		state->is_over = true;
		break;
	case 'h':
	case 'H':
	case '?':
		state->shows_help = true;
		break;
	case 'd':
		state->is_asking = true;
		state->answer_n = 0;
		state->answer[0] = '\0';
		break;
	case 'R':
		state->reversed = !state->reversed;
		break;
	case 'z':
		monitor_view_reset_growth(&state->view);
		break;
	case ' ':
		state->is_paused = !state->is_paused;
		state->next_ns = 0;
		break;
	case KEY_UP:
	case KEY_DOWN:
		scroll_by(state, key == KEY_UP ? -1 : 1);
		break;
	case KEY_PPAGE:
	case KEY_NPAGE:
		scroll_by(state, key == KEY_PPAGE ? -LINES / 2 : LINES / 2);
		break;
	case KEY_HOME:
		state->scroll = 0;
		break;
	case KEY_REDRAW:
		clearok(curscr, TRUE);
		break;
	default:
		return step_key(state, key);
	}
	return NULL;
}

// --- the loop --------------------------------------------------------------------------------------
static struct error *take_keys(struct state *state)
{
	int key;

	while (!state->is_over && (key = getch()) != ERR)
		TRY(take_key(state, key));
	return NULL;
}

static uint64_t time_left(const struct state *state)
{
	uint64_t now = os_monotonic_ns();

	if (state->is_paused)
		return UINT64_MAX;
	return state->next_ns > now ? state->next_ns - now : 0;
}

static struct error *loop(struct state *state, int interrupts)
{
	while (!state->is_over) {
		struct os_awaited awaited[] = { { .fd = STDIN_FILENO }, { .fd = interrupts } };

		draw(state);
		(void)os_await(awaited, 2, time_left(state));
		if (awaited[1].ready)
			return NULL;
		TRY(take_keys(state));
		if (!state->is_paused && !time_left(state) && !state->is_over)
			TRY(next_sample(state));
	}
	return NULL;
}

// A terminal that goes away gives errors for ever: getch says nothing, and poll says it is ready.
static bool has_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static struct error *run(struct state *state)
{
	OS_DESCRIPTOR int interrupts = -1;
	struct error *error;
	SCREEN *terminal;

	TRY(os_interrupts_take(&interrupts));
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal)
		return error_new(ERROR_UNSUPPORTED,
		                 "this terminal is not known (TERM); -b prints text");
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	ESCDELAY = 25;
	error = loop(state, interrupts);
	endwin();
	delscreen(terminal);
	return error;
}

struct error *monitor_screen_run(const struct monitor_screen *screen)
{
	struct state state = { .screen = screen,
		               .interval_ns = screen->interval_ns,
		               .order = screen->order,
		               .is_paused = screen->file != NULL };
	struct error *error;
	struct arena arena;

	if (!has_terminal())
		return error_new(ERROR_UNSUPPORTED, "there is no terminal; -b prints text");
	state.utf8 = monitor_locale_utf8() && !screen->ascii;
	arena_init(&arena, &os_page_source);
	state.title = arena_format(&arena, "heapwright monitor  %s", screen->host);
	monitor_view_init(&state.view);
	monitor_sample_init(&state.sample);
	error = screen->file ? go_to(&state, 0) : next_sample(&state);
	if (!error)
		error = run(&state);
	monitor_sample_deinit(&state.sample);
	monitor_view_deinit(&state.view);
	arena_deinit(&arena);
	return error;
}
