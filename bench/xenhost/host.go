// Package xenhost runs trials on a real Xen host: this machine is dom0.
//
// Each trial gets a guest of its own, which is destroyed afterwards. The package is
// bench/run's Host for --host xen, as bench/labhost is the one for the lab. The trial
// itself (bench/dom0, bench/trial) is the same code in both.
package xenhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// ErrNoGuests means that the folder of guest kernels is not there.
var ErrNoGuests = errors.New("no folder of guest kernels; name it with --guests")

// Host is this machine as a Xen host.
type Host struct {
	dom0 *dom0.Host
	mu   sync.Mutex // one trial at a time: the hypervisor has one set of trace buffers
}

// Open opens the host with a folder of guest kernels, laid out as guests/lab/place
// says. Guests that a killed run has left with a monitor are recovered.
func Open(c dom0.Config) (*Host, error) {
	c.Work = os.TempDir()
	d, err := dom0.Open(c)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(c.Guests); err != nil || !st.IsDir() {
		return nil, errors.Join(fmt.Errorf("%q: %w", c.Guests, ErrNoGuests), d.Close())
	}
	if _, err := d.RecoverDead(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return New(d), nil
}

// New returns an open control domain as a host of trials.
func New(d *dom0.Host) *Host { return &Host{dom0: d} }

// Kind is xen, or lab if this dom0 is the lab's.
func (h *Host) Kind() string { return h.dom0.Kind() }

// Info describes the host in a run's manifest: what it is, and the versions of its
// software by name.
func (h *Host) Info() (results.HostInfo, map[string]string, error) {
	v, err := h.dom0.Version()
	if err != nil {
		return results.HostInfo{}, nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return results.HostInfo{}, nil, fmt.Errorf("describe this host: %w", err)
	}
	return results.HostInfo{Kind: h.Kind(), Description: "Xen " + v + " on " + name}, map[string]string{"xen": v}, nil
}

// CheckGuest returns the reason why such a guest cannot run here, or nil.
func (h *Host) CheckGuest(g suites.Guest) error { return h.dom0.CheckGuest(g) }

// FindGuest opens a guest that hangbench has made and that is up, by the name of its
// domain. The caller closes it.
func (h *Host) FindGuest(ctx context.Context, name string) (*dom0.Guest, error) {
	return h.dom0.FindGuest(ctx, name)
}

// Close closes the host.
func (h *Host) Close() error { return h.dom0.Close() }

// Run runs one trial on a guest made for it.
func (h *Host) Run(ctx context.Context, t plan.Trial, log *slog.Logger) (rec results.Trial, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dom0.Log = log
	g, err := h.dom0.NewGuest(ctx, fmt.Sprintf("hangbench-%d-%d", os.Getpid(), t.Index), t.Machine)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, g.Destroy(context.WithoutCancel(ctx))) }()
	return g.Run(ctx, t, nil)
}
