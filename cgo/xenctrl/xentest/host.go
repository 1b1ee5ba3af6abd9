package xentest

import (
	"fmt"
	"slices"
	"sync"
	"syscall"

	"hangbench/cgo/xenctrl"
)

// Host is a machine with Xen and a control domain. Its methods may be called
// from any goroutine.
type Host struct {
	mu     sync.Mutex
	mem    *memory
	pcpus  int
	altp2m bool
	xen    xenctrl.Version
	guests map[xenctrl.DomID]*Guest
	nextID xenctrl.DomID
	maps   map[*byte]mapped // by the first byte
	fails  map[string]failure
	hook   func() // is called once before a call about a guest
	hookIn int    // number of such calls until then
	calls  []string
	store  tree
	trace  tracer
	tsc    uint64 // counts instructions
}

// mapped is a mapping that a handle has.
type mapped struct {
	guest *Guest // nil: Xen's own frames
	size  int
}

type failure struct {
	errno syscall.Errno
	left  int
}

// Config describes a [Host]. The zero value has one physical CPU.
type Config struct {
	PhysicalCPUs int  // 0 means 1
	NoAltp2m     bool // Xen was started without altp2m=1
	// Xen is the version of Xen: of its xenctrl.Facts the host has CopiesHostAccess and
	// FastStepNeedsEvents. The zero value means 4.20.4.
	Xen xenctrl.Version
}

// NewHost returns a host with domain 0 and no guest. It panics if the kernel has
// no memfd_create. The caller closes the host.
func NewHost(c Config) *Host {
	mem, err := newMemory()
	if err != nil {
		panic(fmt.Sprintf("xentest: %v", err))
	}
	if c.Xen.Major == 0 {
		c.Xen = xenctrl.Version{Major: 4, Minor: 20, Extra: ".4"}
	}
	h := &Host{mem: mem, xen: c.Xen, pcpus: max(c.PhysicalCPUs, 1), altp2m: !c.NoAltp2m, nextID: 1,
		guests: map[xenctrl.DomID]*Guest{}, maps: map[*byte]mapped{}, fails: map[string]failure{}}
	h.store.write(xenctrl.DomainPath(0)+"/name", "Domain-0")
	return h
}

// Close frees the machine's memory, with every mapping and every slice of it. Close the
// handles before.
func (h *Host) Close() error {
	defer h.lock()()
	return h.mem.close()
}

func (h *Host) lock() (unlock func()) {
	h.mu.Lock()
	return h.mu.Unlock
}

// Xen returns a handle on the hypervisor, as xenctrl.Open does.
func (h *Host) Xen() *xenctrl.Xen { return xenctrl.New(h.Hypervisor()) }

// Hypervisor returns the Hypervisor of the handle that Xen returns. A test can embed it in
// a struct with methods of its own, and give that to xenctrl.New.
func (h *Host) Hypervisor() xenctrl.Hypervisor { return &handle{h} }

// Store returns a connection to xenstore, as xenctrl.OpenStore does. All
// connections of one host see the same nodes.
func (h *Host) Store() *xenctrl.Store { return xenctrl.NewStore(&storeConn{h}) }

// Fail makes the next n calls of a library function fail with errno, without any effect.
// op is the function's name, for example "xc_monitor_enable" or
// "xs_read".
func (h *Host) Fail(op string, errno syscall.Errno, n int) {
	defer h.lock()()
	h.fails[op] = failure{errno, n}
}

// Before has f called before the n-th call about a guest from now on, on the goroutine that
// makes that call. f may use the host.
func (h *Host) Before(n int, f func()) {
	defer h.lock()()
	h.hook, h.hookIn = f, n
}

// callHook calls the function of Before when its time has come.
func (h *Host) callHook() {
	unlock := h.lock()
	f := h.hook
	if h.hookIn--; f == nil || h.hookIn > 0 {
		unlock()
		return
	}
	h.hook = nil
	unlock()
	f()
}

// maxCalls is the largest number of calls that Calls returns.
const maxCalls = 1 << 16

// Calls returns the library functions that were called, in order, failed calls
// included. Among them are "answer N" where Xen let vCPU N of a guest go on
// after a response. Only the first 65,536 are kept.
func (h *Host) Calls() []string {
	defer h.lock()()
	return slices.Clone(h.calls)
}

// Mappings returns how many mappings of guest memory are open.
func (h *Host) Mappings() int {
	defer h.lock()()
	n := 0
	for _, m := range h.maps {
		if m.guest != nil {
			n++
		}
	}
	return n
}

func (h *Host) note(what string) {
	if len(h.calls) < maxCalls {
		h.calls = append(h.calls, what)
	}
}

// enter notes a call and returns its error if Fail has set one.
func (h *Host) enter(op string) error {
	h.note(op)
	f, ok := h.fails[op]
	if !ok {
		return nil
	}
	if f.left--; f.left <= 0 {
		delete(h.fails, op)
	} else {
		h.fails[op] = f
	}
	return failed(op, f.errno)
}

// failed is an error about no domain.
func failed(op string, errno syscall.Errno) error {
	return &xenctrl.Error{Op: op, Domain: xenctrl.None, VCPU: xenctrl.None, View: xenctrl.None, GFN: xenctrl.NoGFN,
		Errno: errno}
}
