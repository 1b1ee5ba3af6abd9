package xenhost

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/dom0test"
	"hangbench/bench/plan"
	xc "hangbench/cgo/xenctrl"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// onEach is a slog.Handler that calls itself with each message.
type onEach func(message string)

func (f onEach) Enabled(context.Context, slog.Level) bool { return true }
func (f onEach) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f onEach) WithGroup(string) slog.Handler            { return f }
func (f onEach) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}

func trial() plan.Trial {
	return plan.Trial{
		Suite: "fake", Index: 4, Seed: 9, Cell: results.Cell{Scenario: "control-busy",
			Arm:     results.Arm{Mechanism: "exec-step", Driver: "xenctrl"},
			Machine: suites.Guest{Kernel: dom0test.Kernel, VCPUs: 1, MemoryMiB: 160}},
		Timing: suites.Timing{BaselineMS: 500, ObserveMS: 500, DeadlineMS: 1000, RecoveryMS: 2000, SampleMS: 100},
	}
}

// TestRun: a trial gets a guest of its own, with the trial's number in its name, which
// is gone afterwards.
func TestRun(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	h := New(f.Host)
	guests := 0
	var stages []string
	rec, err := h.Run(t.Context(), trial(), slog.New(onEach(func(stage string) {
		stages = append(stages, stage)
		guests = max(guests, f.Guests())
	})))
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome != results.Clean || rec.Trial != 4 || rec.Seed != 9 || rec.Host != "xen" || rec.Events.Delivered == 0 {
		t.Errorf("%s (%s): %+v", rec.Outcome, rec.Reason, rec)
	}
	if guests != 1 || f.Guests() != 0 || f.Hypervisor.Mappings() != 0 {
		t.Errorf("%d guests during the trial, %d and %d mappings after it", guests, f.Guests(), f.Hypervisor.Mappings())
	}
	if stages[0] != "create guest" {
		t.Errorf("stages %q", stages)
	}
}

// TestRunFails: an error of the host is returned, and that of destroying the guest with
// it.
func TestRunFails(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	h := New(f.Host)
	noMemory, stays := errors.New("no memory"), errors.New("the domain stays")
	f.Fail("Create", noMemory)
	if _, err := h.Run(t.Context(), trial(), slog.New(slog.DiscardHandler)); !errors.Is(err, noMemory) {
		t.Errorf("a guest that cannot be made: %v", err)
	}
	f.Fail("Create", nil)
	f.Fail("Destroy", stays)
	p := trial()
	p.Driver = "magic"
	if _, err := h.Run(t.Context(), p, slog.New(slog.DiscardHandler)); !errors.Is(err, stays) ||
		!strings.Contains(err.Error(), "magic") {
		t.Errorf("a trial and its guest's end that fail: %v", err)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	h := New(f.Host)
	info, versions, err := h.Info()
	if err != nil || info.Kind != "xen" || !strings.HasPrefix(versions["xen"], "4.20") ||
		!strings.Contains(info.Description, "Xen "+versions["xen"]) {
		t.Errorf("%+v, %v, %v", info, versions, err)
	}
	if err := h.CheckGuest(suites.Guest{Programs: "stress-ng"}); err == nil {
		t.Error("a guest with programs can run without their initramfs")
	}
	if _, err := h.FindGuest(t.Context(), "nobody"); !errors.Is(err, xc.ErrNoDomain) {
		t.Errorf("nobody: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpen: a machine that is no control domain says so, whatever the folder.
func TestOpen(t *testing.T) {
	t.Parallel()
	if xen, err := xc.Open(); err == nil {
		xen.Close()
		t.Skip("this machine is a Xen control domain")
	}
	if _, err := Open(dom0.Config{Guests: t.TempDir()}); !errors.Is(err, xc.ErrNotBuilt) && !errors.Is(err, xc.ErrNoXen) {
		t.Errorf("%v", err)
	}
}
