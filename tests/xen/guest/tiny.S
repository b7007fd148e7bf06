/*
 * The smallest guest: a paravirtual kernel that blocks for ever. xl builds the domain, the backend driver makes its
 * interfaces and the hotplug program runs, in 4 MB and without any boot time. It never answers on the network.
 *
 * The notes are the interface between a PV kernel and its loader (xen/include/public/elfnote.h).
 */
	.macro elf_note type:req, value:vararg
	.section .note.Xen, "a", @note
	.balign	4
	.long	4				/* length of the owner's name */
	.long	9f - 8f				/* length of the value */
	.long	\type
	.asciz	"Xen"
8:	\value
9:	.balign	4
	.previous
	.endm

	.set	XEN_ELFNOTE_ENTRY, 1
	.set	XEN_ELFNOTE_HYPERCALL_PAGE, 2
	.set	XEN_ELFNOTE_VIRT_BASE, 3
	.set	XEN_ELFNOTE_XEN_VERSION, 5
	.set	XEN_ELFNOTE_GUEST_OS, 6
	.set	XEN_ELFNOTE_LOADER, 8

	.set	HYPERVISOR_SCHED_OP, 29
	.set	SCHEDOP_BLOCK, 1
	.set	HYPERCALL_STUB_SIZE, 32

	elf_note XEN_ELFNOTE_GUEST_OS, .asciz "tiny"
	elf_note XEN_ELFNOTE_XEN_VERSION, .asciz "xen-3.0"
	elf_note XEN_ELFNOTE_LOADER, .asciz "generic"
	elf_note XEN_ELFNOTE_VIRT_BASE, .quad 0
	elf_note XEN_ELFNOTE_ENTRY, .quad _start
	elf_note XEN_ELFNOTE_HYPERCALL_PAGE, .quad hypercall_page

	.text
	.globl	_start
_start:
	mov	$SCHEDOP_BLOCK, %edi
	xor	%esi, %esi
	call	hypercall_page + HYPERVISOR_SCHED_OP * HYPERCALL_STUB_SIZE
	jmp	_start

	.balign	4096
hypercall_page:					/* filled by Xen */
	.skip	4096
