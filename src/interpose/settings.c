// SPDX-License-Identifier: MIT
// The value of HEAPWRIGHT_RECORD as settings. The language: docs/recording.md. Nothing here allocates
// or needs a libc that is set up; called by start.c.
#include <string.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

static bool is_word(const char *text, size_t length, const char *word)
{
	return strlen(word) == length && !memcmp(text, word, length);
}

static const char *read_mode(const char *text, size_t length, struct record_settings *ret)
{
	static const struct {
		const char *name;
		enum record_mode mode;
	} modes[] = { { "full", RECORD_FULL },
		      { "lite", RECORD_LITE },
		      { "sampled", RECORD_SAMPLED } };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (is_word(text, length, modes[i].name)) {
			ret->mode = modes[i].mode;
			return NULL;
		}
	return "mode is full, lite or sampled";
}

static const char *read_what(const char *text, size_t length, struct record_settings *ret)
{
	static const struct {
		const char *name;
		unsigned what;
	} names[] = { { "malloc", RECORD_WHAT_MALLOC },
		      { "vm", RECORD_WHAT_VM },
		      { "shared", RECORD_WHAT_SHARED_MEMORY } };
	const char *end = text + length;

	for (ret->what = 0; text < end; text++) {
		size_t n = strcspn(text, "+,"), i = 0;

		while (i < 3 && !is_word(text, n, names[i].name))
			i++;
		if (i == 3)
			return "what is made of malloc, vm and shared, joined by +";
		ret->what |= names[i].what;
		text += n;
	}
	return NULL;
}

static const char *copy_text(const char *text, size_t length, char *ret, size_t bytes)
{
	if (length >= bytes)
		return "a value is too long";
	memcpy(ret, text, length);
	ret[length] = '\0';
	return NULL;
}

static const char *read_number_of(const char *key, size_t key_length, uint64_t n,
                                  struct interpose_settings *ret)
{
	if (is_word(key, key_length, "ring"))
		ret->record.ring_bytes = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	else if (is_word(key, key_length, "sample"))
		ret->record.sample_bytes = n;
	else if (is_word(key, key_length, "wait"))
		ret->record.wait_ns = n * 1000000;
	else if (is_word(key, key_length, "max"))
		ret->record.max_log_bytes = n;
	else if (is_word(key, key_length, "process"))
		ret->process = n;
	else if (is_word(key, key_length, "part"))
		ret->part = n;
	else if (is_word(key, key_length, "follow"))
		ret->record.follow_fork = n;
	else
		return "a key of " INTERPOSE_VARIABLE " is not known";
	return NULL;
}

static const char *read_pair(const char *key, size_t key_length, const char *value, size_t length,
                             struct interpose_settings *ret)
{
	const char *wrong;
	uint64_t n;

	if (is_word(key, key_length, "mode"))
		return read_mode(value, length, &ret->record);
	if (is_word(key, key_length, "what"))
		return read_what(value, length, &ret->record);
	if (is_word(key, key_length, "collector"))
		return copy_text(value, length, ret->collector, sizeof(ret->collector));
	if (is_word(key, key_length, "options"))
		return copy_text(value, length, ret->options, sizeof(ret->options));
	wrong = read_number_of(key, key_length, 0, ret);
	if (wrong)
		return wrong;
	if (!inside_number_read(value, length, true, &n))
		return "a number in " INTERPOSE_VARIABLE " is malformed";
	return read_number_of(key, key_length, n, ret);
}

const char *interpose_settings_read(const char *text, struct interpose_settings *ret)
{
	const char *wrong = NULL;

	*ret = (struct interpose_settings){ .record = { .mode = RECORD_FULL,
		                                        .what = RECORD_WHAT_MALLOC } };
	while (*text && !wrong) {
		size_t key = strcspn(text, "="), length;

		if (!text[key])
			return "a key has no value";
		// The last: it may hold what separates others.
		if (is_word(text, key, "log"))
			return copy_text(text + key + 1, strlen(text + key + 1), ret->log_path,
			                 sizeof(ret->log_path));
		length = strcspn(text + key + 1, ",");
		wrong = read_pair(text, key, text + key + 1, length, ret);
		text += key + 1 + length;
		text += *text == ',';
	}
	return wrong;
}
