package xenctrl

import "fmt"

// DomID is a domain's number. 0 is the control domain.
type DomID uint16

// domXen owns Xen's own pages, such as the trace buffers (DOMID_XEN).
const domXen DomID = 0x7ff2

// PageSize is the size of a guest page frame in bytes.
const PageSize = 4096

// Version describes the hypervisor (xc_version).
type Version struct {
	Major, Minor int
	Extra        string // for example ".4" or "-unstable"
	CommandLine  string // Xen's own
	Capabilities string // for example "xen-3.0-x86_64 hvm-3.0-x86_64"
}

// Release returns the release, as in 4.20.
func (v Version) Release() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func (v Version) String() string {
	return v.Release() + v.Extra
}

// ShutdownReason is why a domain shut down (SHUTDOWN_* of Xen's sched.h).
type ShutdownReason uint8

// Reasons of [DomainInfo.ShutdownReason].
const (
	ShutdownPoweroff  ShutdownReason = 0
	ShutdownReboot    ShutdownReason = 1
	ShutdownSuspend   ShutdownReason = 2
	ShutdownCrash     ShutdownReason = 3
	ShutdownWatchdog  ShutdownReason = 4
	ShutdownSoftReset ShutdownReason = 5
)

func (r ShutdownReason) String() string {
	names := [...]string{"poweroff", "reboot", "suspend", "crash", "watchdog", "soft reset"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// DomainInfo is a domain's state at one instant.
type DomainInfo struct {
	ID             DomID
	Running        bool // some vCPU was on a physical CPU
	Blocked        bool // every online vCPU waits for an interrupt
	Paused         bool // by Pause or the toolstack, not by an event without an answer
	Dying          bool
	Shutdown       bool
	ShutdownReason ShutdownReason // meaningful with Shutdown
	HVM            bool           // HVM or PVH
	VCPUs          int            // online
	MaxVCPU        int            // highest vCPU number, or None
	Pages          uint64         // page frames that it has
	MaxPages       uint64         // page frames that it may have
	CPUTimeNS      uint64         // run time of all vCPUs since its creation, in nanoseconds
}

// Bits of xen_domctl_getdomaininfo.flags.
const (
	domDying         = 1 << 0
	domHVM           = 1 << 1
	domShutdown      = 1 << 2
	domPaused        = 1 << 3
	domBlocked       = 1 << 4
	domRunning       = 1 << 5
	domShutdownShift = 16
	noMaxVCPU        = ^uint32(0)
)

// setFlags sets the fields that XEN_DOMINF_* stand for.
func (i *DomainInfo) setFlags(flags uint32) {
	i.Dying = flags&domDying != 0
	i.HVM = flags&domHVM != 0
	i.Shutdown = flags&domShutdown != 0
	i.Paused = flags&domPaused != 0
	i.Blocked = flags&domBlocked != 0
	i.Running = flags&domRunning != 0
	i.ShutdownReason = ShutdownReason(flags >> domShutdownShift)
}

// VCPUInfo is a vCPU's state at one instant. A vCPU that is neither Running nor Blocked
// is runnable, or waits for the answer to an event: Xen does not tell which.
type VCPUInfo struct {
	Online    bool
	Blocked   bool   // waits for an interrupt
	Running   bool   // on physical CPU PCPU now
	PCPU      int    // where it runs or ran last
	CPUTimeNS uint64 // run time since its creation, in nanoseconds
}

// Registers are a vCPU's registers. In an [Event] the fields with a star are zero.
type Registers struct {
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64

	CR0, CR2, CR3, CR4 uint64
	DR6, DR7           uint64

	EFER, STAR, LSTAR                    uint64
	SysenterCS, SysenterESP, SysenterEIP uint64
	FSBase, GSBase                       uint64
	KernelGSBase                         uint64 // the one SWAPGS exchanges with GSBase
	GDTBase                              uint64
	IDTBase                              uint64 // *
	GDTLimit                             uint16
	IDTLimit                             uint16 // *
	CSSel, SSSel, DSSel, ESSel, FSSel    uint16
	GSSel                                uint16
	CSAttr, SSAttr                       uint16 // access rights, bits 0-7 and 8-11 as in a descriptor's
	PendingEvent                         uint32 // * VM-entry interruption information to be delivered
}

// CPL returns the privilege level, 0 (kernel) to 3 (user). On Intel it is the
// descriptor privilege level of SS.
func (r *Registers) CPL() int { return int(r.SSAttr>>5) & 3 }

// Access is what a guest may do with a page (xenmem_access_t).
type Access uint8

// Permissions of a page.
const (
	AccessN       Access = iota // none
	AccessR                     // read
	AccessW                     // write
	AccessRW                    // not execute
	AccessX                     // execute only
	AccessRX                    // not write
	AccessWX                    // not read
	AccessRWX                   // everything, the normal state
	AccessRX2RW                 // read and execute until the first write, then read and write
	AccessN2RWX                 // none until the first access, which is reported without a pause, then everything
	AccessRPW                   // read, and write by page-table walks
	AccessDefault               // the domain's or view's default
)

func (a Access) String() string {
	names := [...]string{"n", "r", "w", "rw", "x", "rx", "wx", "rwx", "rx2rw", "n2rwx", "r_pw", "default"}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("access %d", uint8(a))
}

// Prot is the protection of a mapping.
type Prot uint8

// Protections of [Domain.Map].
const (
	ReadOnly  Prot = 1
	ReadWrite Prot = 3
)

// View is the number of an altp2m view. View 0 exists while altp2m is on. The numbers
// of views of [Domain.CreateView] begin with 1.
type View uint16

// cpuMask returns a bitmap of physical CPUs of size bytes, least significant bit
// first. A CPU beyond it is an error.
func cpuMask(cpus []int, size int) ([]byte, error) {
	mask := make([]byte, size)
	for _, c := range cpus {
		if c < 0 || c/8 >= size {
			return nil, fmt.Errorf("physical CPU %d: their numbers are 0 to %d", c, size*8-1)
		}
		mask[c/8] |= 1 << (c % 8)
	}
	return mask, nil
}
