// Package ept sorts the EPT violations of a guest, as Xen's trace reports them,
// into the classes that the project counts.
//
// Xen 4.20 writes one record (TRC_HVM_NPF) for every EPT violation before it
// handles it, in ept_handle_violation (xen/arch/x86/hvm/vmx/vmx.c): guest
// physical address, the host p2m's frame and type, and the exit qualification.
// What becomes of the violation is decided after the record is written, in
// hvm_hap_nested_page_fault (xen/arch/x86/hvm/hvm.c), in this order, which
// Classifier.Add follows:
//
//	internal MMIO, or type mmio_dm, or no frame  → MMIO
//	altp2m on and the view has no entry yet      → lazy: copied from the host p2m
//	access denied by mem_access                  → trapped: an event, or
//	                                               suppressed if none followed
//	fetch from a non-executable large page       → superpage: split (XSA-304)
//	anything else                                → residual
//
// The record does not hold mem_access permissions or page order, so "denied" is
// known by the frame (the monitor knows what it traps) and "large page" is what
// remains of fetches from present pages.
package ept
