package xenctrl

import "fmt"

// P2MType is what Xen uses a guest page frame for (p2m_type_t of Xen 4.20; not
// a stable interface).
type P2MType uint32

// Types of page frames.
const (
	P2MRAM              P2MType = 0
	P2MInvalid          P2MType = 1
	P2MLogDirty         P2MType = 2
	P2MReadOnly         P2MType = 3
	P2MEmulated         P2MType = 4 // MMIO for the device model, and any hole
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
	NPFEffRead  NPFQual = 1 << 3 // the entry in use allows reads; all three clear: there is no entry
	NPFEffWrite NPFQual = 1 << 4
	NPFEffExec  NPFQual = 1 << 5
	NPFGLAValid NPFQual = 1 << 7
	NPFGLAFault NPFQual = 1 << 8 // with NPFGLAValid: the access itself; clear: the walk of the guest's page tables
)

const npfEff = NPFEffRead | NPFEffWrite | NPFEffExec

// NPF is a record of an EPT violation, made before Xen handles it. MFN and Type
// are the host view's, whatever view the vCPU is in; Qual is of the view in use.
type NPF struct {
	GPA  uint64
	MFN  uint64 // machine frame, ^0 if there is no memory
	Qual NPFQual
	Type P2MType
}

// GFN returns the guest page frame.
func (n *NPF) GFN() uint64 { return n.GPA / PageSize }

// NPF decodes an EPT violation. It carries no time and no vCPU: with
// [TraceEntryExit] the exit record before it on the same CPU has the time and
// the instruction, with [TraceRunstate] [Owners] has the vCPU.
func (r *Record) NPF() (n NPF, ok bool) {
	if r.Event != traceNPF || r.N < 6 {
		return NPF{}, false
	}
	return NPF{GPA: r.word64(0), MFN: r.word64(2), Qual: NPFQual(r.Extra[4]), Type: P2MType(r.Extra[5])}, true
}

// NPFClass is why an EPT violation happened.
type NPFClass uint8

// Classes of EPT violations.
const (
	NPFOther      NPFClass = iota // none of the below: for instance, the entry was changed meanwhile
	NPFPermission                 // a restriction that was set on the page; the monitor gets an event
	NPFPageWalk                   // likewise, by the walk of the guest's page tables; the monitor gets an event unless SuppressPageWalks
	NPFLazyCopy                   // the altp2m view did not hold the page yet; Xen copies it, no event
	NPFMMIO                       // emulated device or hole; no event
	NPFSuperpage                  // execution of a superpage that Xen keeps non-executable (XSA-304); Xen splits it, no event
	NPFLogDirty                   // write to a page being tracked for migration; no event
	NPFPopulate                   // first use of memory populated on demand; no event

	// NumNPFClasses bounds every NPFClass.
	NumNPFClasses = 8
)

func (c NPFClass) String() string {
	names := [NumNPFClasses]string{"other", "permission", "page-walk", "lazy-copy", "mmio", "superpage", "log-dirty", "populate"}
	if c < NumNPFClasses {
		return names[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// needs returns what was attempted, as eff bits. Like ept_handle_violation it
// does not count a write as a read: that matters only to pages that are
// writable but not readable, which EPT cannot express.
func (q NPFQual) needs() NPFQual { return (q & (NPFRead | NPFWrite | NPFFetch)) << 3 }

// eff returns what an EPT entry with permission a allows.
func (a Access) eff() NPFQual {
	switch a {
	case AccessN, AccessN2RWX:
		return 0
	case AccessR, AccessRPW:
		return NPFEffRead
	case AccessW: // EPT cannot have write without read; Xen's event check can
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

// Class tells why the violation happened, from what the monitor knows: a is
// the permission it has set on the page in the view the vCPU is in (AccessRWX
// for pages it left alone), and altp2m whether views are on. It follows
// hvm_hap_nested_page_fault of Xen 4.20 in its order.
func (n *NPF) Class(a Access, altp2m bool) NPFClass {
	present := n.Qual&npfEff != 0
	switch {
	// get_gfn_query finds a place-holder, and hvm_hap_nested_page_fault asks
	// with P2M_ALLOC.
	case n.Type == P2MPopulateOnDemand:
		return NPFPopulate
	// hvm_mmio_internal, or p2m_mmio_dm further down; holes of the p2m read as
	// p2m_mmio_dm too. Restrictions are checked only where there is memory.
	case n.Type == P2MEmulated || n.MFN == ^uint64(0):
		return NPFMMIO
	// p2m_altp2m_get_or_propagate comes before the permissions. A page the
	// monitor restricted in the view was brought into it by that.
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
