package misses

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"hangbench/analysis/golden"
	"hangbench/bench/price/event"
	"hangbench/monitor"
)

// fakeHost is a guest that switches once a millisecond and does a unit of work
// with each, half as often while it is watched.
type fakeHost struct {
	now       event.Account
	switches  uint64
	lose      uint64 // one of so many switches gives no signal; 0 for none
	backedOut string
	dead      bool // the guest has no heartbeat
	idle      bool
	fail      error // of Sleep
	attachErr error
	detachErr error

	passes  []int
	watcher *fakeWatcher
	sample  time.Duration
}

func (h *fakeHost) Accounts() (event.Account, error)           { return h.now, nil }
func (h *fakeHost) SetBusy(_ context.Context, busy bool) error { h.idle = h.idle || !busy; return nil }
func (h *fakeHost) Sleep(_ context.Context, d time.Duration) error {
	if h.fail != nil {
		return h.fail
	}
	n := uint64(d / time.Millisecond)
	if h.watcher != nil {
		n /= 2
	}
	h.now.NS += int64(d)
	h.switches += n
	if !h.idle {
		h.now.Work += n
	}
	if !h.dead {
		h.now.Beats += 3
	}
	return nil
}

func (h *fakeHost) Watch(_ string, passes int, sample time.Duration) (Watcher, error) {
	if h.watcher != nil {
		return nil, errors.New("two monitors at once")
	}
	if h.attachErr != nil {
		return nil, h.attachErr
	}
	h.passes, h.sample = append(h.passes, passes), sample
	h.watcher = &fakeWatcher{h, passes, h.switches}
	return h.watcher, nil
}

type fakeWatcher struct {
	h      *fakeHost
	passes int
	from   uint64
}

func (w *fakeWatcher) Detach() (monitor.Counters, error) {
	n := w.h.switches - w.from
	c := monitor.Counters{Counts: monitor.Counts{Signals: n, Switches: n}, BackedOut: w.h.backedOut}
	if w.passes > 0 {
		c.Signals = n / 10
	} else if w.h.lose > 0 {
		c.Signals -= n / w.h.lose
	}
	c.Accesses, c.Delivered, c.Steps = c.Signals, c.Signals, 9*c.Signals
	w.h.watcher = nil
	return c, w.h.detachErr
}

func config() Config {
	return Config{Window: time.Second, Sample: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// TestMeasure: from counts that are known, the misses come out exactly.
func TestMeasure(t *testing.T) {
	h := &fakeHost{lose: 4}
	s, err := Measure(t.Context(), h, h.Watch, "exec-step", config())
	if err != nil {
		t.Fatal(err)
	}
	r := Report{VCPUs: 2, Series: []Series{s}}
	r.Compute()
	want := []Row{
		{Mechanism: "exec-step", Passes: Unlimited, Signals: 375, Switches: 500, Missed: 125, Share: 0.25, Events: 3750,
			Progress: 0.5, Alive: true},
		{Mechanism: "exec-step", Passes: monitor.DefaultPasses, Signals: 50, Switches: 500, Missed: 450, Share: 0.9,
			Events: 500, Progress: 0.5, Alive: true},
	}
	if len(r.Rows) != 2 || r.Rows[0] != want[0] || r.Rows[1] != want[1] || r.Edge != 4 {
		t.Errorf("edge %d, rows %+v, want %+v", r.Edge, r.Rows, want)
	}
	if len(h.passes) != 2 || h.passes[0] != Unlimited || h.passes[1] != monitor.DefaultPasses ||
		h.sample != 100*time.Millisecond {
		t.Errorf("attached with passes %v, sample %v", h.passes, h.sample)
	}
}

func TestMeasureFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		h    fakeHost
		want error
	}{
		{"interrupted", fakeHost{fail: context.Canceled}, context.Canceled},
		{"attach", fakeHost{attachErr: broken}, broken},
		{"detach", fakeHost{detachErr: broken}, broken},
		{"no work", fakeHost{idle: true}, errIdle},
	} {
		if _, err := Measure(t.Context(), &tc.h, tc.h.Watch, "cr3", config()); !errors.Is(err, tc.want) ||
			tc.h.watcher != nil {
			t.Errorf("%s: %v, still attached: %v", tc.name, err, tc.h.watcher != nil)
		}
	}
	h := &fakeHost{dead: true}
	if s, err := Measure(t.Context(), h, h.Watch, "cr3", config()); err != nil || s.Alive {
		t.Errorf("dead guest: alive %v, %v", s.Alive, err)
	}
}

// TestMechanisms: what has no trap has nothing to miss.
func TestMechanisms(t *testing.T) {
	all := " " + strings.Join(Mechanisms(), " ") + " "
	for _, name := range []string{"cr3", "exec-step", "exec-altp2m", "int3-altp2m"} {
		if !strings.Contains(all, " "+name+" ") {
			t.Errorf("%s is not measured", name)
		}
	}
	for _, name := range []string{"none", "poll"} {
		if strings.Contains(all, " "+name+" ") {
			t.Errorf("%s is measured", name)
		}
	}
}

func TestGolden(t *testing.T) {
	r := Report{Host: "lab", Driver: "xenctrl", Xen: "4.20", GuestKernel: "6.12-test", VCPUs: 2, WindowMS: 1000,
		SampleMS: 100}
	for _, h := range []*fakeHost{{lose: 4}, {}, {backedOut: "livelock"}, {dead: true}} {
		s, err := Measure(t.Context(), h, h.Watch, "exec-step", config())
		if err != nil {
			t.Fatal(err)
		}
		r.Series = append(r.Series, s)
	}
	// A guest whose count could not be read.
	r.Series = append(r.Series, Series{Mechanism: "cr3", Counts: []Count{{Passes: Unlimited, Signals: 5}}, Alive: true})
	r.Compute()
	got, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden.Compare(t, "report.json", got)
}
