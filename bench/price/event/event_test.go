package event

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hangbench/analysis/golden"
)

// fakeHost is a host with prices that the test sets.
type fakeHost struct {
	now       Account
	attached  string
	perEvent  map[string]int64 // ns, by loop
	events    uint64
	samples   uint64 // since a sampler was attached
	spent     uint64 // cycles on its samples
	busy      bool
	dead      bool   // the guest has no heartbeat
	backedOut string // of ours
	fail      error  // of Sleep
	order     []string
}

func (h *fakeHost) Accounts() (Account, error) { return h.now, nil }

func (h *fakeHost) SetBusy(_ context.Context, busy bool) error { h.busy = busy; return nil }

func (h *fakeHost) start(loop string) (fakeLoop, error) {
	if h.attached != "" {
		return fakeLoop{}, errors.New("two loops at once")
	}
	h.attached, h.events = loop, 0
	h.order = append(h.order, loop)
	return fakeLoop{h}, nil
}

func (h *fakeHost) Start(_ context.Context, kind LoopKind, _ string) (Loop, error) {
	return h.start(map[LoopKind]string{Ours: "ours", Yardstick: "c"}[kind])
}

// attachNS is the CPU time of dom0 for attaching a monitor that samples.
const attachNS = 7_000_000

func (h *fakeHost) Poll(context.Context, time.Duration) (Sampler, error) {
	h.now.Dom0NS += attachNS
	h.samples, h.spent = 0, 0
	return h.start("poll")
}

func (l fakeLoop) Samples() uint64          { return l.h.samples }
func (l fakeLoop) Spent() map[string]uint64 { return map[string]uint64{"task list": l.h.spent} }

func (h *fakeHost) Timed(context.Context, LoopKind, string, time.Duration) ([]Instant, uint64, error) {
	return oneEvent(0), 3, nil
}

// unit is the time of a unit of work.
const unit = int64(time.Millisecond)

// Sleep lets the guest do what the attached loop leaves it: half of the time goes
// to events.
func (h *fakeHost) Sleep(_ context.Context, d time.Duration) error {
	if h.fail != nil {
		return h.fail
	}
	if h.attached == "" {
		h.order = append(h.order, "none")
	}
	ns := int64(d)
	h.now.NS += ns
	h.now.Cycles += uint64(ns) / 10
	if !h.dead {
		h.now.Beats += 3
	}
	switch h.attached {
	case "":
		h.now.Work += uint64(ns / unit)
	case "poll":
		h.now.Work += uint64(ns / unit)
		h.now.Dom0NS += ns / 1000
		h.samples += uint64(ns / int64(PollEvery))
		h.spent += 250 * uint64(ns/int64(PollEvery))
	default:
		each := h.perEvent[h.attached]
		h.now.Work += uint64(ns / 2 / unit)
		h.events = uint64(ns / 2 / each)
		h.now.Dom0NS += int64(h.events) * each / 4
	}
	return nil
}

type fakeLoop struct{ h *fakeHost }

func (l fakeLoop) Stop() (Counts, error) {
	c := Counts{Events: l.h.events, Samples: 20}
	if l.h.attached == "ours" {
		c.BackedOut = l.h.backedOut
	}
	l.h.attached = ""
	return c, nil
}

func newFake() *fakeHost {
	return &fakeHost{perEvent: map[string]int64{"ours": 500_000, "c": 625_000}}
}

func measured(t *testing.T) *Report {
	t.Helper()
	h := newFake()
	c := Config{Blocks: 2, Window: time.Second, Timed: time.Second, Log: slog.New(slog.DiscardHandler)}
	r := &Report{Host: "lab", Driver: "xenctrl", Xen: "4.20", GuestKernel: "6.12-test", VCPUs: 1, WindowMS: 1000,
		PerSecond: 1e8}
	for _, m := range []string{"exec-step", "cr3"} {
		s, err := Measure(t.Context(), h, h, m, c)
		if err != nil {
			t.Fatal(err)
		}
		r.Series = append(r.Series, s)
	}
	var err error
	if r.Polling, err = MeasurePoll(t.Context(), h, h.Poll, 2*time.Second, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.Reads = &Reads{Mapped: 300, Unmapped: 40_000}
	r.Compute()
	return r
}

// TestMeasure: from accounts that are known, the price comes out exactly.
func TestMeasure(t *testing.T) {
	r := measured(t)
	for _, row := range r.Rows {
		if row.OursNS != 500_000 || row.CNS != 625_000 || row.OursInstr != 50_000 || row.CInstr != 62_500 ||
			row.Ratio != 0.8 ||
			row.RatioMin != 0.8 || row.RatioMax != 0.8 || row.OursDom0Instr != 12_500 || row.Dom0Ratio != 0.8 || row.N != 2 ||
			row.OursEvents != 4000 || row.EventsPerSec != 1000 || row.CEventsPerSec != 800 || !row.Alive {
			t.Errorf("%+v", row)
		}
	}
	for _, p := range r.Poll {
		if p.Samples != 20 || p.NS != 100_000 || p.Share != 0.001 || p.Instr != 10_000 ||
			p.AttachNS != attachNS || p.AttachInstr != attachNS/10 || p.Parts["task list"] != 250 {
			t.Errorf("%+v", p)
		}
	}
}

// TestOrder: the windows alternate so that drift falls on both loops alike.
func TestOrder(t *testing.T) {
	h := newFake()
	if _, err := Measure(t.Context(), h, h, "cr3", Config{Blocks: 1, Window: time.Second,
		Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(h.order[:6], " "); got != "none ours c c ours none" {
		t.Errorf("order %s", got)
	}
	if !h.busy {
		t.Error("the guest was not busy")
	}
}

func TestMeasureFails(t *testing.T) {
	c := Config{Blocks: 1, Window: time.Second, Log: slog.New(slog.DiscardHandler)}
	h := newFake()
	h.backedOut = "livelock"
	if _, err := Measure(t.Context(), h, h, "cr3", c); err == nil || !strings.Contains(err.Error(), "livelock") {
		t.Errorf("a monitor that detached by itself: %v", err)
	}
	h = newFake()
	h.fail = context.Canceled
	if _, err := Measure(t.Context(), h, h, "cr3", c); !errors.Is(err, context.Canceled) || h.attached != "" {
		t.Errorf("interrupted: %v, attached %q", err, h.attached)
	}
	h = newFake()
	h.perEvent["c"] = math.MaxInt64
	if _, err := Measure(t.Context(), h, h, "cr3", c); !errors.Is(err, errIdle) {
		t.Errorf("no event: %v", err)
	}
	h = newFake()
	h.dead = true
	if s, err := Measure(t.Context(), h, h, "cr3", c); err != nil || s.Alive {
		t.Errorf("dead guest: alive %v, %v", s.Alive, err)
	}
}

func TestGolden(t *testing.T) {
	r := measured(t)
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "report.json", append(b, '\n'))
}

// oneEvent is an event as the lab shows it: dom0 sleeps, is woken, the monitor
// makes one call of its own, answers and sleeps.
func oneEvent(at uint64) []Instant {
	return []Instant{
		{at + 0, GuestExit, ""}, {at + 100, GuestStops, ""}, {at + 110, Dom0Runs, ""}, // 110 hypervisor
		{at + 310, Hypercall, "iret"}, {at + 400, Woke, ""}, // 290 wake-up
		{at + 410, CallBegin, ""},                       // 10 monitor
		{at + 430, Hypercall, "hvm_op"},                 // 20 kernel
		{at + 480, CallEnd, ""}, {at + 500, Sleeps, ""}, // 50 hypervisor, 20 monitor
		{at + 530, Hypercall, "event_channel_op"},                                        // 30 kernel
		{at + 590, GuestReady, ""},                                                       // 60 hypervisor
		{at + 690, Hypercall, "sched_op"},                                                // 100 kernel
		{at + 700, Dom0Stops, ""}, {at + 701, GuestRuns, ""}, {at + 900, GuestEntry, ""}, // 210 hypervisor
	}
}

// total is the sum of the parts.
func total(p Parts) uint64 { return p.Hypervisor + p.Wakeup + p.Monitor + p.Kernel }

func TestSplit(t *testing.T) {
	var all []Instant
	for i := range uint64(5) {
		all = append(all, oneEvent(1000*i)...)
	}
	// An exit that is no event, one that ends nowhere, and an entry from nowhere.
	all = append(all, Instant{6000, GuestExit, ""}, Instant{6100, GuestEntry, ""}, Instant{6200, GuestEntry, ""},
		Instant{7000, GuestExit, ""})
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	b := Split(all)
	want := Parts{Hypervisor: 110 + 50 + 60 + 210, Wakeup: 290, Monitor: 30, Kernel: 150}
	if b.Events != 5 || b.Other != 0 || len(b.Parts) != 5 || b.Typicals != 5 {
		t.Fatalf("%+v", b)
	}
	for _, p := range b.Parts {
		if p != want || total(p) != 900 {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	if b.Hypercalls["iret"] != 1 || b.Hypercalls["sched_op"] != 1 {
		t.Errorf("hypercalls %v", b.Hypercalls)
	}
	if len(b.Typical) != len(oneEvent(0))-1 || b.Typical[0] != (Step{"guest stops", 100}) ||
		b.Typical[len(b.Typical)-1] != (Step{"guest entry", 199}) {
		t.Errorf("typical %v", b.Typical)
	}
	if h := Handling(all); len(h) != 5 || h[0] != 100 {
		t.Errorf("handling %v", h)
	}
}

// TestSplitPreempted: dom0 loses the CPU within the call that answers, and the
// next event is in the ring when it is back: nobody slept.
func TestSplitPreempted(t *testing.T) {
	b := Split([]Instant{
		{0, Woke, ""}, {10, Sleeps, ""}, {20, GuestReady, ""}, {30, Dom0Stops, ""}, {31, GuestRuns, ""}, {40, GuestEntry, ""},
		{100, GuestExit, ""}, {150, GuestStops, ""}, {160, Dom0Runs, ""}, {260, Woke, ""}, {290, Sleeps, ""},
		{300, Hypercall, "event_channel_op"}, {310, GuestReady, ""}, {315, Dom0Stops, ""}, {316, GuestRuns, ""},
		{400, GuestEntry, ""},
	})
	want := Parts{Hypervisor: 60 + 10 + 85, Wakeup: 100, Monitor: 30, Kernel: 10 + 5}
	if b.Events != 1 || b.Parts[0] != want {
		t.Errorf("%+v, want %+v", b, want)
	}
}

// FuzzSplit: whatever the trace holds, the parts of an event are all of it and
// no more.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{0, 2, 5, 8, 9, 7, 3, 6, 4, 1})
	f.Fuzz(func(t *testing.T, kinds []byte) {
		var all []Instant
		for i, k := range kinds {
			all = append(all, Instant{uint64(i) * 3, InstantKind(k % 12), []string{"iret", notifyCall, blockCall}[int(k/12)%3]})
		}
		b := Split(all)
		var sum uint64
		for _, p := range b.Parts {
			sum += total(p)
		}
		if sum > 3*uint64(len(all)) || len(b.Parts) != b.Events || b.Typicals > b.Events {
			t.Errorf("%d cycles in %d instants: %+v", sum, len(all), b)
		}
	})
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		s    []float64
		q    float64
		want float64
	}{{nil, 0.5, 0}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{4, 1, 2, 3}, 0.5, 2.5}, {[]float64{1, 2, 3, 4}, 0.99, 4},
		{[]float64{7}, 0.99, 7}} {
		if got := quantile(c.s, c.q); got != c.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.s, c.q, got, c.want)
		}
	}
}
