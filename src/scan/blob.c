// SPDX-License-Identifier: MIT
// Gives out the image of the mark phase that scripts/make-flat-blob made; called by graph.
#include "scan/scan.h"

extern const char scan_image[], scan_image_end[];

const void *scan_blob(size_t *ret_bytes)
{
	*ret_bytes = (size_t)(scan_image_end - scan_image);
	return scan_image;
}
