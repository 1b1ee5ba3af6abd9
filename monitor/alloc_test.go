package monitor

import (
	"runtime"
	"testing"
	"time"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/trap"
)

// cycleRing gives a session the same events over and over, and notes how many
// allocations the program has made after the first ones and after the last.
type cycleRing struct {
	*fakeGuest
	cycle       []driver.Event
	n           int // given so far
	first, last int
	before      runtime.MemStats
	after       runtime.MemStats
	over        chan struct{}
}

func (r *cycleRing) Listen() (driver.Ring, error) { return r, nil }

func (r *cycleRing) Wait(time.Duration) error {
	select {
	case <-r.over:
		<-r.wake // of Detach
	default:
	}
	return nil
}

func (r *cycleRing) Next(ev *driver.Event) (bool, error) {
	switch r.n {
	case r.first:
		runtime.ReadMemStats(&r.before)
	case r.last:
		select {
		case <-r.over:
		default:
			runtime.ReadMemStats(&r.after)
			close(r.over)
		}
		return false, nil
	}
	*ev = r.cycle[r.n%len(r.cycle)]
	r.n++
	return true, nil
}

func (r *cycleRing) Respond(*driver.Response) error { return nil }

// cycles returns the events of one pass, by mechanism.
func cycles() map[string][]driver.Event {
	access := func(rip uint64) driver.Event {
		return driver.Event{Kind: driver.EventAccess, GFN: trapGFN, RIP: rip, Execute: true}
	}
	steps := []driver.Event{access(trapVA), {Kind: driver.EventStep, RIP: trapVA + 4},
		{Kind: driver.EventStep, RIP: offPage}}
	accesses := []driver.Event{access(trapVA), access(trapVA + 4)}
	return map[string][]driver.Event{"exec-step": steps, "exec-altp2m": steps, "exec-emulate": accesses,
		"exec-altp2m-fast": accesses,
		"cr3":              {{Kind: driver.EventCR3, RIP: cr3VA}}}
}

// answerMany attaches a session, has it answer events and returns how many
// allocations there were after the first thousand.
func answerMany(tb testing.TB, mechanism string, events int) uint64 {
	tb.Helper()
	m, err := trap.Find(mechanism)
	if err != nil {
		tb.Fatal(err)
	}
	r := &cycleRing{fakeGuest: newFakeGuest(), cycle: cycles()[mechanism], first: 1000, last: 1000 + events,
		over: make(chan struct{})}
	start := time.Now()
	s, err := Attach(Config{Driver: r, Mechanism: m, Site: switchSite(), Kernel: r.fakeGuest,
		Symbols: noNames{}, Thresholds: detect.DefaultThresholds(), Sample: time.Hour, Passes: -1,
		Now: func() int64 { return int64(time.Since(start)) }})
	if err != nil {
		tb.Fatal(err)
	}
	select {
	case <-r.over:
	case <-s.Done():
	}
	c, err := s.Detach()
	if err != nil {
		tb.Fatal(err)
	}
	if got := c.Accesses + c.Steps + c.CR3; got != uint64(r.last) {
		tb.Fatalf("%s: %d events answered of %d", mechanism, got, r.last)
	}
	return r.after.Mallocs - r.before.Mallocs
}

// TestNoAllocations: after the first events, an event costs no allocation. The runtime
// makes a few of its own.
func TestNoAllocations(t *testing.T) {
	const events = 100_000
	for mechanism := range cycles() {
		if n := answerMany(t, mechanism, events); n > events/1000 {
			t.Errorf("%s: %d allocations in %d events", mechanism, n, events)
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	for mechanism := range cycles() {
		b.Run(mechanism, func(b *testing.B) {
			b.ReportMetric(float64(answerMany(b, mechanism, b.N))/float64(b.N), "allocs/event")
		})
	}
}
