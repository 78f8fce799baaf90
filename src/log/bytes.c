// SPDX-License-Identifier: MIT
// Checksums, and columns packed and unpacked (bytes.h). Used by all of log.
#include "log/bytes.h"

#include <pthread.h>

#include "os/os.h"

#define CRC_POLYNOMIAL 0xedb88320u
#define PACK_FROM      32 // below this many bytes a frame's header eats what it wins

static uint32_t crc_tables[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_make(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
		crc_tables[0][i] = crc;
	}
	for (int table = 1; table < 8; table++)
		for (int i = 0; i < 256; i++) {
			uint32_t before = crc_tables[table - 1][i];

			crc_tables[table][i] = before >> 8 ^ crc_tables[0][before & 0xff];
		}
}

uint32_t log_crc(uint32_t crc, const void *bytes, size_t count)
{
	const uint8_t *at = bytes;
	size_t taken;

	pthread_once(&crc_once, crc_make);
	crc = ~crc;
	taken = os_crc32(&crc, at, count);
	at += taken;
	count -= taken;
	for (; count >= 8; count -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		word ^= crc;
		crc = 0;
		for (int i = 0; i < 8; i++)
			crc ^= crc_tables[7 - i][word >> 8 * i & 0xff];
	}
	for (; count; count--)
		crc = crc >> 8 ^ crc_tables[0][(crc ^ *at++) & 0xff];
	return ~crc;
}

void log_add(log_bytes *to, const void *bytes, size_t count)
{
	if (!count)
		return;
	vec_reserve(to, to->n + count);
	memcpy(to->v + to->n, bytes, count);
	to->n += count;
}

void log_add_varint(log_bytes *to, uint64_t value)
{
	vec_reserve(to, to->n + LOG_VARINT_BYTES);
	to->n = (size_t)(put_varint(to->v + to->n, value) - to->v);
}

void log_add_text(log_bytes *to, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	log_add_varint(to, length);
	log_add(to, text, length);
}

struct error *log_add_column(ZSTD_CCtx *zstd, log_bytes *to, const uint8_t *bytes, size_t count)
{
	size_t bound = ZSTD_compressBound(count), packed = count;

	log_add_varint(to, count);
	vec_reserve(to, to->n + bound + 2 * LOG_VARINT_BYTES);
	if (count >= PACK_FROM) {
		// Behind the longest length; it moves down when the length is known.
		uint8_t *frame = to->v + to->n + LOG_VARINT_BYTES;

		packed = ZSTD_compress2(zstd, frame, bound, bytes, count);
		if (ZSTD_isError(packed))
			return error_new(ERROR_SYSTEM, "cannot pack the log: %s",
			                 ZSTD_getErrorName(packed));
		if (packed < count) {
			log_add_varint(to, packed);
			memmove(to->v + to->n, frame, packed);
			to->n += packed;
			return NULL;
		}
	}
	log_add_varint(to, count);
	log_add(to, bytes, count);
	return NULL;
}

const uint8_t *take_bytes(struct log_cursor *from, uint64_t count)
{
	const uint8_t *at = from->at;

	if (count > (size_t)(from->end - at)) {
		from->bad = true;
		return NULL;
	}
	from->at += count;
	return at;
}

struct error *log_take_column(ZSTD_DCtx *zstd, struct log_cursor *from, size_t limit_bytes,
                              log_bytes *to, struct log_cursor *ret)
{
	uint64_t count = take_varint(from), packed = take_varint(from);
	const uint8_t *stored = take_bytes(from, packed);

	if (from->bad || !stored || count > limit_bytes || packed > count ||
	    count / LOG_MOST_RATIO > packed)
		return error_new(ERROR_DAMAGED, "a column has an impossible length");
	to->n = 0;
	vec_reserve(to, count + LOG_PADDING);
	if (packed == count)
		memcpy(to->v, stored, count);
	else if (ZSTD_decompressDCtx(zstd, to->v, count, stored, packed) != count)
		return error_new(ERROR_DAMAGED, "a column cannot be unpacked");
	memset(to->v + count, 0, LOG_PADDING);
	to->n = count;
	*ret = (struct log_cursor){ to->v, to->v + count, false };
	return NULL;
}

bool log_skip_column(struct log_cursor *from)
{
	take_varint(from);
	take_bytes(from, take_varint(from));
	return !from->bad;
}
