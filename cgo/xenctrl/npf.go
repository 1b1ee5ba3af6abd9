package xenctrl

import "fmt"

// P2MType is the use of a guest page frame in Xen (p2m_type_t of Xen 4.20). It is not a
// stable interface.
type P2MType uint32

// Types of page frames.
const (
	P2MRAM              P2MType = 0
	P2MInvalid          P2MType = 1
	P2MLogDirty         P2MType = 2
	P2MReadOnly         P2MType = 3
	P2MEmulated         P2MType = 4 // MMIO for the device model, and holes
	P2MDirect           P2MType = 5 // MMIO of a real device
	P2MPopulateOnDemand P2MType = 6
)

// NPFQual is the exit qualification of an EPT violation (Intel SDM volume 3,
// table 29-7).
type NPFQual uint32

// Bits of NPFQual.
const (
	NPFRead     NPFQual = 1 << 0
	NPFWrite    NPFQual = 1 << 1
	NPFFetch    NPFQual = 1 << 2
	NPFEffRead  NPFQual = 1 << 3 // the EPT entry allows reads; without these three bits there is no entry
	NPFEffWrite NPFQual = 1 << 4
	NPFEffExec  NPFQual = 1 << 5
	NPFGLAValid NPFQual = 1 << 7
	NPFGLAFault NPFQual = 1 << 8 // with NPFGLAValid: the access itself, not the walk of the page tables
)

const npfEff = NPFEffRead | NPFEffWrite | NPFEffExec

// NPF is a record of an EPT violation. Xen makes it before it handles the violation.
// MFN and Type are those of the host view, Qual is that of the vCPU's view.
type NPF struct {
	GPA  uint64
	MFN  uint64 // machine frame, or ^0 if there is no memory
	Qual NPFQual
	Type P2MType
}

// GFN returns the guest page frame.
func (n *NPF) GFN() uint64 { return n.GPA / PageSize }

// NPF decodes an EPT violation. The record has no time and no vCPU. With
// [TraceEntryExit] the exit record before it on the same CPU has the time and the
// instruction. With [TraceRunstate] [Owners] has the vCPU.
func (r *Record) NPF() (n NPF, ok bool) {
	if r.Event != traceNPF || r.N < 6 {
		return NPF{}, false
	}
	return NPF{GPA: r.word64(0), MFN: r.word64(2), Qual: NPFQual(r.Extra[4]), Type: P2MType(r.Extra[5])}, true
}

// NPFClass is the cause of an EPT violation.
type NPFClass uint8

// Classes of EPT violations.
const (
	NPFOther      NPFClass = iota // none of those below: for instance, the entry has changed since
	NPFPermission                 // a restricted page; the monitor gets an event
	NPFPageWalk                   // a restricted page, at the walk of the guest's page tables; likewise
	NPFLazyCopy                   // a page that the altp2m view does not hold yet; Xen copies it, no event
	NPFMMIO                       // an emulated device or a hole; no event
	NPFSuperpage                  // execution of a superpage (XSA-304); Xen splits it, no event
	NPFLogDirty                   // a write to a page that is tracked for migration; no event
	NPFPopulate                   // the first use of memory that is populated on demand; no event

	// NumNPFClasses is above every NPFClass.
	NumNPFClasses = 8
)

func (c NPFClass) String() string {
	names := [NumNPFClasses]string{"other", "permission", "page-walk", "lazy-copy", "mmio", "superpage",
		"log-dirty", "populate"}
	if c < NumNPFClasses {
		return names[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// needs returns the access that was attempted, as NPFEff bits. As ept_handle_violation
// does, it does not count a write as a read. That matters only to pages that are
// writable and not readable, which EPT does not have.
func (q NPFQual) needs() NPFQual { return (q & (NPFRead | NPFWrite | NPFFetch)) << 3 }

// eff returns what an EPT entry with permission a allows, as NPFEff bits.
func (a Access) eff() NPFQual {
	switch a {
	case AccessN, AccessN2RWX:
		return 0
	case AccessR, AccessRPW:
		return NPFEffRead
	case AccessW: // EPT does not have write without read; Xen's check of events does
		return NPFEffWrite
	case AccessRW:
		return NPFEffRead | NPFEffWrite
	case AccessX:
		return NPFEffExec
	case AccessRX, AccessRX2RW:
		return NPFEffRead | NPFEffExec
	case AccessWX:
		return NPFEffWrite | NPFEffExec
	}
	return npfEff
}

// Class returns the cause of the violation. a is the permission that the monitor has
// set on the page in the vCPU's view, AccessRWX if none. altp2m says whether views are
// on. The order of the checks is that of hvm_hap_nested_page_fault of Xen 4.20.
func (n *NPF) Class(a Access, altp2m bool) NPFClass {
	present := n.Qual&npfEff != 0
	switch {
	// hvm_hap_nested_page_fault allocates memory for the entry (P2M_ALLOC).
	case n.Type == P2MPopulateOnDemand:
		return NPFPopulate
	// hvm_mmio_internal, or p2m_mmio_dm further down. Holes read as p2m_mmio_dm too.
	// Permissions are checked only where there is memory.
	case n.Type == P2MEmulated || n.MFN == ^uint64(0):
		return NPFMMIO
	// p2m_altp2m_get_or_propagate comes before the permissions. Restricting a page in
	// a view copies it into the view.
	case !present && altp2m && a.eff() != 0:
		return NPFLazyCopy
	case n.Qual.needs()&^a.eff() != 0:
		if n.Qual&(NPFGLAValid|NPFGLAFault) == NPFGLAValid {
			return NPFPageWalk
		}
		return NPFPermission
	// page_order > 0 && insn_fetch && present && !violation
	case present && n.Qual&NPFFetch != 0 && n.Qual&NPFEffExec == 0:
		return NPFSuperpage
	case n.Type == P2MLogDirty && n.Qual&NPFWrite != 0:
		return NPFLogDirty
	}
	return NPFOther
}
