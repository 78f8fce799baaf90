// SPDX-License-Identifier: MIT
// Compressed cores, as systemd-coredump keeps them: decompressed as a stream
// into a file without a name, pages of zeros as holes. Called by core.c.
#include "target/target_impl.h"

#include <string.h>
#include <zstd.h>

static const uint8_t magic[] = { 0x28, 0xb5, 0x2f, 0xfd }; // RFC 8878, 3.1.1

bool core_is_compressed(int fd)
{
	uint8_t start[sizeof(magic)];

	return os_pread(fd, start, sizeof(start), 0) == sizeof(start) &&
	       memcmp(start, magic, sizeof(magic)) == 0;
}

size_t core_decompress_start(int fd, void *buffer, size_t n)
{
	uint8_t in[4096];
	ZSTD_outBuffer output = { buffer, n, 0 };
	ZSTD_inBuffer input = { in, 0, 0 };
	ZSTD_DStream *stream = ZSTD_createDStream();
	uint64_t offset = 0;

	while (stream && output.pos < n) {
		if (input.pos == input.size) {
			input.size = os_pread(fd, in, sizeof(in), offset);
			input.pos = 0;
			offset += input.size;
		}
		if (input.size == 0 || ZSTD_isError(ZSTD_decompressStream(stream, &output, &input)))
			break;
	}
	ZSTD_freeDStream(stream);
	return output.pos;
}

enum { PIECE_BYTES = 1 << 20, HOLE_BYTES = 4096 };

struct inflation {
	int from, to;
	uint64_t offset; // of the next bytes to read
	uint64_t written;
	uint8_t *in, *out;
};

static bool all_zero(const uint8_t *bytes, size_t n)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

static struct error *write_sparse(struct inflation *inflation, size_t n)
{
	for (size_t at = 0; at < n; at += HOLE_BYTES) {
		size_t bytes = n - at < HOLE_BYTES ? n - at : HOLE_BYTES;

		if (!all_zero(inflation->out + at, bytes))
			TRY(os_pwrite(inflation->to, inflation->out + at, bytes,
			              inflation->written + at));
	}
	inflation->written += n;
	return NULL;
}

static struct error *damaged(const struct inflation *inflation, const char *why)
{
	return error_new(ERROR_DAMAGED,
	                 "the compressed core ends after %llu bytes of memory image: %s",
	                 (unsigned long long)inflation->written, why);
}

// *ret_damage tells about the input, the result about this machine.
static struct error *inflate(ZSTD_DStream *stream, struct inflation *inflation,
                             struct error **ret_damage)
{
	ZSTD_inBuffer input = { inflation->in, 0, 0 };
	size_t rest = 1;   // 0 at the end of a frame
	bool full = false; // the stream may hold more output without more input

	for (;;) {
		ZSTD_outBuffer output = { inflation->out, PIECE_BYTES, 0 };

		if (input.pos == input.size) {
			input.size = os_pread(inflation->from, inflation->in, PIECE_BYTES,
			                      inflation->offset);
			input.pos = 0;
			inflation->offset += input.size;
		}
		if (input.size == 0 && !full) {
			*ret_damage = rest ? damaged(inflation, "the file is cut off") : NULL;
			return NULL;
		}
		rest = ZSTD_decompressStream(stream, &output, &input);
		full = output.pos == output.size;
		TRY(write_sparse(inflation, output.pos));
		if (ZSTD_isError(rest)) {
			*ret_damage = damaged(inflation, ZSTD_getErrorName(rest));
			return NULL;
		}
	}
}

struct error *core_decompress(int *fd, struct error **ret_damage)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	struct inflation inflation = { .from = *fd };
	struct error *error;

	*ret_damage = NULL;
	if (!stream)
		return &error_out_of_memory;
	error = os_scratch_open(&inflation.to);
	if (error) {
		ZSTD_freeDStream(stream);
		return error;
	}
	inflation.in = os_page_source.resize(NULL, 0, PIECE_BYTES);
	inflation.out = os_page_source.resize(NULL, 0, PIECE_BYTES);
	error = inflate(stream, &inflation, ret_damage);
	if (!error)
		error = os_file_resize(inflation.to, inflation.written);
	os_page_source.resize(inflation.in, PIECE_BYTES, 0);
	os_page_source.resize(inflation.out, PIECE_BYTES, 0);
	ZSTD_freeDStream(stream);
	if (error) {
		os_close(inflation.to);
		return error_prefix(error, "cannot decompress the core");
	}
	os_close(*fd);
	*fd = inflation.to;
	return NULL;
}
