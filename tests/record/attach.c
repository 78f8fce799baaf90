// SPDX-License-Identifier: MIT
// Attaches to a process as the record tool does, says "in" and the figures, and gets out
// when its input ends or a line comes. usage: attach PID LIBRARY [times N] [limit MS] [sampled] [out]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/collect.h"
#include "layout/record.h"

static void say(const struct collect_attached *attached, const char *what)
{
	printf("%s patched=%u stopped_us=%llu stops=%u borrowed_us=%llu guardian=%d remains=%d "
	       "held=%u lacking=%s\n",
	       what, attached->patched, (unsigned long long)attached->stopped_ns / 1000,
	       attached->stops, (unsigned long long)attached->borrowed_ns / 1000,
	       attached->guardian, attached->remains, attached->held, attached->lacking);
	fflush(stdout);
}

static int fail(const struct error *error)
{
	printf("refused: %s\n", error->text);
	return 2;
}

static int once(const struct collect_attach_settings *settings, bool wait)
{
	struct collect_attached attached;
	struct error *error = collect_attach(settings, &attached);

	if (error)
		return fail(error);
	say(&attached, "in");
	if (wait)
		(void)getchar();
	error = collect_detach(&attached);
	if (error)
		return fail(error);
	say(&attached, "out");
	return 0;
}

static int only_out(int process)
{
	struct collect_attached attached = { 0 };
	struct error *error = collect_detach_process(process, &attached);

	if (error)
		return fail(error);
	say(&attached, "out");
	return 0;
}

int main(int argc, char **argv)
{
	struct collect_attach_settings settings = {
		.mode = RECORD_FULL,
		.what = RECORD_WHAT_MALLOC | RECORD_WHAT_VM,
		.wait_ns = 1000000, // for nobody reads the rings
	};
	int times = 0, status = 0;

	if (argc < 3)
		return 64;
	settings.process = atoi(argv[1]);
	settings.library = argv[2];
	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "times") && i + 1 < argc)
			times = atoi(argv[++i]);
		else if (!strcmp(argv[i], "limit") && i + 1 < argc)
			settings.limit_ns = strtoull(argv[++i], NULL, 10) * 1000000;
		else if (!strcmp(argv[i], "sampled"))
			settings.mode = RECORD_SAMPLED;
		else if (!strcmp(argv[i], "out"))
			return only_out(settings.process);
	}
	if (!times)
		return once(&settings, true);
	for (int i = 0; i < times && !status; i++)
		status = once(&settings, false);
	return status;
}
