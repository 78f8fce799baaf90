// SPDX-License-Identifier: MIT
// Entry of the image: the address of the job comes as the first argument; the breakpoint tells the
// tool that the work is done.
	.section .text.entry, "ax", %progbits
	.globl scan_entry
scan_entry:
	andq $-16, %rsp
	call scan_mark
	int3
	.section .note.GNU-stack, "", %progbits
