// Package xenhost runs trials on a real Xen host: this machine is dom0.
//
// Every trial gets a guest of its own, which is destroyed afterwards. It is
// bench/run's Host for --host xen; bench/labhost is the one for the lab, and
// the trial itself (bench/dom0, bench/trial) is the same code in both.
package xenhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/guests/lab/place"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Host is this machine as a Xen host.
type Host struct {
	d  dom0.Host
	mu sync.Mutex // one trial at a time: the trace buffers are the host's
}

// ErrNoGuests says that the folder of guest kernels is not there.
var ErrNoGuests = errors.New("no folder of guest kernels; name it with --guests")

// Open opens the host. guests is a folder laid out as dom0.Host.Guests says.
func Open(guests string) (*Host, error) {
	h := &Host{d: dom0.Host{Kind: "xen", Guests: guests, Work: os.TempDir()}}
	// The lab's dom0 is a Xen host like any other, but its numbers are the lab's.
	if line, err := os.ReadFile("/proc/cmdline"); err == nil && strings.Contains(string(line), place.LabMark) {
		h.d.Kind = "lab"
	}
	if err := h.d.Open(); err != nil {
		return nil, err
	}
	// Guests of a run that was killed are let go before new ones are made.
	if _, err := h.d.RecoverDead(); err != nil {
		return nil, errors.Join(err, h.d.Close())
	}
	if st, err := os.Stat(guests); err != nil || !st.IsDir() {
		return nil, errors.Join(fmt.Errorf("%q: %w", guests, ErrNoGuests), h.Close())
	}
	return h, nil
}

// Kind is xen, or lab if this dom0 is the lab's.
func (h *Host) Kind() string { return h.d.Kind }

// SetDriver sets what the monitors of guests watch through that FindGuest and the
// like open; trials say so themselves.
func (h *Host) SetDriver(name string) { h.d.Driver = name }

// Version returns what Xen this is.
func (h *Host) Version() (string, error) { return h.d.Version() }

// Info describes the host in a run's manifest: what it is, and the versions of its
// software by name.
func (h *Host) Info() (results.HostInfo, map[string]string, error) {
	v, err := h.d.Version()
	if err != nil {
		return results.HostInfo{}, nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return results.HostInfo{}, nil, fmt.Errorf("describe this host: %w", err)
	}
	return results.HostInfo{Kind: h.Kind(), Description: "Xen " + v + " on " + name}, map[string]string{"xen": v}, nil
}

// CheckGuest says why such a guest cannot run here.
func (h *Host) CheckGuest(g suites.Guest) error { return h.d.CheckGuest(g) }

// Close closes the host.
func (h *Host) Close() error { return h.d.Close() }

// Run runs one trial on a guest made for it.
func (h *Host) Run(ctx context.Context, t plan.Trial, log *slog.Logger) (rec results.Trial, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.d.Log = log
	g, err := h.d.NewGuest(ctx, fmt.Sprintf("hangbench-%d-%d", os.Getpid(), t.Index), t.Machine)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, g.Destroy(context.WithoutCancel(ctx))) }()
	return g.Run(ctx, t, nil)
}

// Price opens a guest that is up, by its name, for bench/price/event. Close it when
// done.
func (h *Host) Price(ctx context.Context, guest, yardstick string) (*dom0.Price, error) {
	h.d.Log = slog.New(slog.DiscardHandler)
	g, err := h.d.FindGuest(ctx, guest)
	if err != nil {
		return nil, err
	}
	p, err := dom0.NewPrice(g, yardstick)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return p, nil
}
