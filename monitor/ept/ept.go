package ept

// Violation is one EPT violation, from Xen's TRC_HVM_NPF record.
type Violation struct {
	GPA           uint64 // guest-physical address
	MFN           uint64 // frame in the host p2m, all ones for none
	Qualification uint32 // exit qualification, Intel SDM volume 3, table 28-7
	Type          uint32 // p2m_type_t of the host p2m
}

// Bits of Violation.Qualification.
const (
	read, write, fetch       = 1 << 0, 1 << 1, 1 << 2 // what was attempted
	mayRead, mayWrite, mayEx = 1 << 3, 1 << 4, 1 << 5 // what the EPT entry allows
	present                  = mayRead | mayWrite | mayEx
)

// Types of frames in Xen's p2m, xen/arch/x86/include/asm/p2m.h.
const (
	typeRAM       = 0
	typeInvalid   = 1
	typeMMIO      = 4 // emulated: p2m_mmio_dm
	typeMMIOPass  = 5 // p2m_mmio_direct
	noFrame       = ^uint64(0)
	noFrame52bits = 1<<52 - 1 // as some paths store INVALID_MFN
)

// Counts are violations by class. Lost counts trace records that Xen dropped
// because the buffer was full: those may have been of any class.
type Counts struct {
	Trapped   uint64 // on a frame that the monitor traps
	Lazy      uint64 // altp2m view filled from the host p2m
	MMIO      uint64 // emulated device, or nothing there
	Superpage uint64 // large page split for execution
	Residual  uint64 // none of these
	Lost      uint64
}

// Total is the number of violations counted.
func (c Counts) Total() uint64 { return c.Trapped + c.Lazy + c.MMIO + c.Superpage + c.Residual }

// Classifier counts the violations of one guest.
type Classifier struct {
	// Trapped reports whether the monitor takes permissions off a frame.
	Trapped func(gfn uint64) bool
	// Views says that altp2m is on for the guest.
	Views bool

	Counts Counts
}

// Add counts one violation.
func (c *Classifier) Add(v Violation) {
	ram := v.MFN != noFrame && v.MFN&noFrame52bits != noFrame52bits && v.Type != typeInvalid
	switch {
	case v.Type == typeMMIO || v.Type == typeMMIOPass || !ram:
		c.Counts.MMIO++
	case c.Views && v.Qualification&present == 0:
		c.Counts.Lazy++
	case c.Trapped(v.GPA>>12) && v.Qualification&present != 0 && v.Qualification&fetch != 0 && v.Qualification&mayEx == 0:
		c.Counts.Trapped++
	case v.Qualification&present != 0 && v.Qualification&fetch != 0 && v.Qualification&mayEx == 0:
		c.Counts.Superpage++
	default:
		c.Counts.Residual++
	}
}
