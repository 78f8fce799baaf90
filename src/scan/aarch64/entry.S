// SPDX-License-Identifier: MIT
// Entry of the image: the address of the job comes as the first argument; the breakpoint tells the
// tool that the work is done.
	.section .text.entry, "ax", %progbits
	.globl scan_entry
scan_entry:
	mov x9, sp
	and sp, x9, #-16
	bl scan_mark
	brk #0
	.section .note.GNU-stack, "", %progbits
