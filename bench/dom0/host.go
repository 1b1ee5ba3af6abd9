package dom0

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"hangbench/bench/dom0/recovery"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/guests/xl"
	"hangbench/results"
)

// Toolstack makes, finds and ends domains; xl.Toolstack is one.
type Toolstack interface {
	Create(ctx context.Context, c xl.Config) (domid int, err error)
	Destroy(ctx context.Context, domid int) error
	Find(ctx context.Context, name string) (domid int, err error)
	NMI(ctx context.Context, domid, vcpu int) error
	Cap(ctx context.Context, domid, percent int) error
	CapControl(ctx context.Context, percent int) error
	SetVCPUs(ctx context.Context, domid, n int) error
	SetMemory(ctx context.Context, domid, mib int) error
	Save(ctx context.Context, domid int, file string) error
	Checkpoint(ctx context.Context, domid int, file string) error
	Restore(ctx context.Context, c xl.Config, file string) (domid int, err error)
	PowerOff(ctx context.Context, domid int) error
	Reboot(ctx context.Context, domid int) error
}

// Memory is the memory of the control domain.
type Memory interface {
	// Left returns how many bytes programs can get.
	Left() (int64, error)
	// Take takes so many bytes until release is called.
	Take(n int64) (release func() error, err error)
}

// Config says how to open a control domain.
type Config struct {
	// Guests holds a folder for each guest kernel, and their initramfs: see
	// guests/lab/place.
	Guests string
	// Work is a folder for temporary files.
	Work string
	// Driver is what monitors of guests watch through, one of Drivers; empty means
	// xenctrl. A trial has a driver of its own.
	Driver string
}

// Host is an open control domain.
type Host struct {
	recovery.Host
	Config
	// Log gets the steps of making a guest and of trials on it. It may be changed
	// between two calls.
	Log *slog.Logger

	kind     string
	memory   Memory
	tools    Toolstack
	consoles string // folder of the guests' console logs
}

// Open opens this machine as a control domain. The error is xenctrl.ErrNotBuilt in
// a build without Xen and xenctrl.ErrNoXen if this machine is no control domain.
func Open(c Config) (*Host, error) {
	tuneRuntime()
	xen, err := xc.Open()
	if err != nil {
		return nil, fmt.Errorf("open Xen: %w", err)
	}
	store, err := xc.OpenStore()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open xenstore: %w", err), xen.Close())
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read dom0's command line: %w", err), store.Close(), xen.Close())
	}
	return New(c, Parts{
		Kind: kindOf(string(line)), Xen: xen, Store: store, OpenStore: xc.OpenStore,
		Tools: &xl.Toolstack{Dir: c.Work}, Consoles: Consoles, Memory: ownMemory{},
	}), nil
}

// Parts are the parts of a control domain.
type Parts struct {
	Kind      string // lab or xen
	Xen       *xc.Xen
	Store     *xc.Store
	OpenStore func() (*xc.Store, error) // another connection to the same xenstore
	Tools     Toolstack
	Consoles  string // folder of the guests' console logs
	Memory    Memory
}

// New makes a host of its parts. Closing it closes Xen and Store.
func New(c Config, p Parts) *Host {
	return &Host{
		Host:     recovery.Host{Xen: p.Xen, Store: p.Store, OpenStore: p.OpenStore},
		Config:   c,
		Log:      slog.New(slog.DiscardHandler),
		kind:     p.Kind,
		tools:    p.Tools,
		memory:   p.Memory,
		consoles: p.Consoles,
	}
}

// kindOf tells the lab's dom0 from the dom0 of a real machine by the command line of
// its kernel.
func kindOf(commandLine string) string {
	if strings.Contains(commandLine, place.LabMark) {
		return results.Lab
	}
	return results.Xen
}

// Close closes it. Guests stay as they are.
func (h *Host) Close() error { return errors.Join(h.Store.Close(), h.Xen.Close()) }

// Kind is lab or xen. The lab's dom0 is a Xen host like any other, but its clock is
// virtual.
func (h *Host) Kind() string { return h.kind }

// Version returns Xen's version, as "4.20.2".
func (h *Host) Version() (string, error) {
	v, err := h.Xen.Version()
	return v.String(), err
}

// Profiles reads the profile of every guest kernel in the folder of guests.
func (h *Host) Profiles() ([]*kernel.Profile, error) {
	paths, err := filepath.Glob(filepath.Join(h.Guests, "*", place.Profile))
	if err != nil {
		return nil, fmt.Errorf("look for guest kernels: %w", err)
	}
	var all []*kernel.Profile
	for _, path := range paths {
		p, err := readProfile(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// readProfile reads the profile in the folder of a guest kernel.
func readProfile(dir string) (*kernel.Profile, error) {
	b, err := os.ReadFile(filepath.Join(dir, place.Profile))
	if err != nil {
		return nil, fmt.Errorf("read a guest kernel's profile: %w", err)
	}
	p, err := kernel.ReadProfile(b)
	if err != nil {
		return nil, fmt.Errorf("guest kernel %s: %w", filepath.Base(dir), err)
	}
	return p, nil
}

// profileOf returns the profile of the guest kernel with that release.
func (h *Host) profileOf(release string) (*kernel.Profile, error) {
	all, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.Release == release {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no guest kernel below %s has the release %s that the guest runs", h.Guests, release)
}
