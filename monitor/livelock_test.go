package monitor

import (
	"fmt"
	"slices"
	"testing"

	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
)

// changes notes what a session would do with its trap: true for suspend, false for
// resume.
type changes []bool

func (c *changes) add(t trapChange) {
	switch t {
	case suspendTrap:
		*c = append(*c, true)
	case resumeTrap:
		*c = append(*c, false)
	}
}

// What a vCPU does between two samples.
const (
	stays   = iota // runs and keeps its registers
	handler        // runs and is sampled with other registers
	waits          // does not run
	signals        // gives a signal
	paused         // cannot run
	stops          // runs, keeps its registers, and repeats its stop at the trap
	repeats        // repeats its stop too, and is sampled with other registers
)

// TestStandingStill follows one vCPU from sample to sample. What it does in the host view
// is part of the script.
func TestStandingStill(t *testing.T) {
	t.Parallel()
	rep := func(n int, what int) []int { return slices.Repeat([]int{what}, n) }
	// The first sample only shows where it is.
	stuck := rep(1+stillSamples, stays)
	gone := rep(awaySamples, handler)
	for _, tc := range []struct {
		name    string
		does    [][]int
		verdict bool
		host    []bool // the vCPUs put into the host view, or back
	}{
		{"livelock", [][]int{stuck, gone}, true, []bool{true}},
		{"livelock that ends in a switch", [][]int{stuck, rep(1, signals)}, true, []bool{true}},
		{"livelock that waits for a CPU before it goes on", [][]int{stuck, rep(5, waits), gone}, true, []bool{true}},
		{"not still for long enough", [][]int{stuck[1:], rep(1, handler), stuck[1:]}, false, nil},
		{"a signal in between", [][]int{stuck[1:], rep(1, signals), stuck[1:]}, false, nil},
		{"does not run", [][]int{stuck[:1], rep(20, waits)}, false, nil},
		{"own loop", [][]int{stuck, rep(20, stays)}, false, []bool{true, false}},
		{"own loop, sampled in its timer tick", [][]int{stuck, rep(2, handler), rep(20, stays)}, false, []bool{true, false}},
		{"own loop, tested once only", [][]int{stuck, rep(1, stays), rep(2, handler), stuck, rep(20, handler), stuck, gone},
			false, []bool{true, false}},
		{"own loop that ends, and a livelock later", [][]int{stuck, rep(1, stays), rep(1, signals), stuck, gone}, true,
			[]bool{true, false, true}},
		{"paused during the test", [][]int{stuck, rep(3, paused), gone}, false, []bool{true, false}},
		{"paused before", [][]int{stuck[1:], rep(1, paused), stuck[1:]}, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var did changes
			l := newLivelock(1, true)
			var cpu uint64
			found := false
			for now, what := range slices.Concat(tc.does...) {
				r := driver.Registers{RIP: trapVA}
				if what == handler {
					r.General[3] = uint64(now) + 1
				}
				if what != waits {
					cpu++
				}
				switch what {
				case signals:
					l.progress(0)
				case paused:
					did.add(l.absent(0))
				default:
					did.add(l.sample(0, int64(now)*1e8, cpu, &r))
				}
				v, _, stuck := l.found()
				found = found || stuck
				if stuck && (v.Class != detect.ClassMonitor || v.Scope != detect.Full || len(v.Evidence) != 1) {
					t.Errorf("verdict %+v", v)
				}
			}
			if found != tc.verdict || fmt.Sprint(did) != fmt.Sprint(tc.host) {
				t.Errorf("verdict %v, host view %v; want %v, %v", found, did, tc.verdict, tc.host)
			}
		})
	}
}

// TestRepeatedStops: repeated stops are no signal. They are a livelock only if the vCPU
// moves while the trap is suspended.
func TestRepeatedStops(t *testing.T) {
	t.Parallel()
	rep := func(n int, what int) []int { return slices.Repeat([]int{what}, n) }
	stuck := rep(1+stillSamples, stops)
	gone := rep(awaySamples, handler)
	for _, tc := range []struct {
		name    string
		does    [][]int
		altp2m  bool
		verdict bool
		opened  []bool
	}{
		{"livelock", [][]int{stuck, gone}, false, true, []bool{true}},
		{"livelock in a view", [][]int{stuck, gone}, true, true, []bool{true}},
		{"still at it with the trap opened", [][]int{stuck, rep(1, stops), gone}, false, false, []bool{true, false}},
		{"an event elsewhere in between", [][]int{stuck[1:], rep(1, signals), stuck[1:]}, false, false, nil},
		{"its stops end too early", [][]int{stuck[1:], rep(20, stays)}, false, false, nil},
		{"an instruction that repeats", [][]int{rep(20, repeats)}, false, false, nil},
		{"no event and no view: not the monitor's", [][]int{rep(20, stays)}, false, false, nil},
		{"own loop at the trap", [][]int{stuck, rep(1, stays), rep(20, stops)}, false, false, []bool{true, false}},
		{"own loop at the trap, sampled in its timer tick", [][]int{stuck, rep(2, handler), rep(1, stays)}, false, false,
			[]bool{true, false}},
		{"paused during the test", [][]int{stuck, rep(1, paused), gone}, false, false, []bool{true, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var did changes
			l := newLivelock(1, tc.altp2m)
			var cpu uint64
			var now int64
			clock := func() int64 { return now }
			found := false
			for n, what := range slices.Concat(tc.does...) {
				now = int64(n+1) * 1e8
				cpu++
				r := driver.Registers{RIP: trapVA}
				switch what {
				case paused:
					did.add(l.absent(0))
				case signals:
					if l.event(&driver.Event{Kind: driver.EventAccess, RIP: offPage, RSP: 8}, clock) {
						t.Error("an event elsewhere is taken for a repeated stop")
					}
				default:
					if what == handler || what == repeats {
						r.General[3] = uint64(n) + 1
					}
					if what == stops || what == repeats {
						for range 3 {
							l.event(&driver.Event{Kind: driver.EventAccess, RIP: trapVA, RSP: 16}, clock)
						}
					}
					did.add(l.sample(0, now, cpu, &r))
				}
				v, since, stuck := l.found()
				found = found || stuck
				if stuck && (v.Class != detect.ClassMonitor || len(v.Evidence) != 1 || since != 1e8) {
					t.Errorf("verdict %+v, stuck since %d; want since the first repeated stop", v, since)
				}
			}
			if found != tc.verdict || fmt.Sprint(did) != fmt.Sprint(tc.opened) {
				t.Errorf("verdict %v, trap opened %v; want %v, %v", found, did, tc.verdict, tc.opened)
			}
		})
	}
	// The writes of CR3 of two threads look alike. They are complete when their events come.
	w := newLivelock(1, false)
	for range 3 {
		if w.event(&driver.Event{Kind: driver.EventCR3, RIP: cr3VA}, nil) {
			t.Error("a write of CR3 is taken for a repeated stop")
		}
	}
}

// TestStopPlace: only the same RIP, stack and address space make a stop a repeated one.
func TestStopPlace(t *testing.T) {
	t.Parallel()
	first := driver.Event{Kind: driver.EventAccess, RIP: 1, RSP: 2, CR3: 3}
	for _, tc := range []struct {
		name        string
		first, next driver.Event
		want        bool
	}{
		{"the same", first, first, true},
		{"another kind", first, driver.Event{Kind: driver.EventStep, RIP: 1, RSP: 2, CR3: 3}, true},
		{"another RIP", first, driver.Event{Kind: driver.EventAccess, RIP: 9, RSP: 2, CR3: 3}, false},
		{"another stack", first, driver.Event{Kind: driver.EventAccess, RIP: 1, RSP: 9, CR3: 3}, false},
		{"another address space", first, driver.Event{Kind: driver.EventAccess, RIP: 1, RSP: 2, CR3: 9}, false},
		{"a write of CR3", first, driver.Event{Kind: driver.EventCR3, RIP: 1, RSP: 2, CR3: 3}, false},
		{"all zero", driver.Event{}, driver.Event{}, true},
	} {
		l := newLivelock(2, false)
		clock := func() int64 { return 7 }
		if l.event(&tc.first, clock) {
			t.Errorf("%s: the first stop repeats another", tc.name)
		}
		if got := l.event(&tc.next, clock); got != tc.want || l.repeating(0) != tc.want || l.repeating(1) {
			t.Errorf("%s: repeats %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestFound: the evidence of a livelock says how long it lasted before it was tested,
// and the verdict begins with the vCPU that stood still first.
func TestFound(t *testing.T) {
	t.Parallel()
	for _, altp2m := range []bool{false, true} {
		l := newLivelock(2, altp2m)
		stand := func(i int, now int64, r uint64) {
			if !altp2m || i == 1 { // with events
				for range 2 {
					l.event(&driver.Event{Kind: driver.EventAccess, VCPU: i, RIP: r}, func() int64 { return now - 5e6 })
				}
			}
			l.sample(i, now, uint64(now), &driver.Registers{RIP: r})
		}
		for n := range int64(1 + stillSamples) {
			stand(1, 200e6+n*100e6, 0x2000)
			stand(0, 300e6+n*100e6, 0x1000)
		}
		for n := range int64(awaySamples) {
			for i := range 2 {
				l.sample(i, 900e6+n, uint64(900e6+n), &driver.Registers{RIP: uint64(n)})
			}
		}
		v, since, ok := l.found()
		note := func(i, ms, rip, events int) string {
			return fmt.Sprintf("vCPU %d: no register changed for %d ms at RIP %#x while the monitor answered %d events of "+
				"that instruction; they changed when the trap was suspended", i, ms, rip, events)
		}
		want := []string{note(0, 305, 0x1000, 8), note(1, 305, 0x2000, 8)}
		if altp2m {
			want[0] = "vCPU 0: no register changed for 300 ms at RIP 0x1000 in the monitor's view while it ran; " +
				"they changed in view 0"
		}
		if !ok || since != 195e6 || !slices.Equal(v.Evidence, want) ||
			!slices.Equal(v.VCPUs, []int{0, 1}) || v.Scope != detect.Full {
			t.Errorf("altp2m %v: %v since %d, %+v, want since 195e6, %q", altp2m, ok, since, v, want)
		}
		if _, _, again := l.found(); again || l.testing() {
			t.Errorf("altp2m %v: it is found twice", altp2m)
		}
	}
}

// TestOwnLoop: registers of the guest's own loop are not tested again, others are, also
// if all of them are zero; and nothing is tested once the trap was removed.
func TestOwnLoop(t *testing.T) {
	t.Parallel()
	var cpu uint64
	suspends := func(l *livelock, r driver.Registers, samples int) (n int) {
		for range samples {
			cpu++
			if l.sample(0, int64(cpu), cpu, &r) == suspendTrap {
				n++
			}
		}
		return n
	}
	l := newLivelock(1, true)
	for i, tc := range []struct {
		rip  uint64
		want int
	}{{0, 1}, {0, 0}, {5, 1}, {5, 0}} {
		if n := suspends(l, driver.Registers{RIP: tc.rip}, 2+stillSamples); n != tc.want {
			t.Errorf("loop %d at RIP %#x: tested %d times, want %d", i, tc.rip, n, tc.want)
		}
	}
	l = newLivelock(1, true)
	l.off = true
	if n := suspends(l, driver.Registers{}, 10*stillSamples); n != 0 {
		t.Errorf("tested %d times without a trap", n)
	}
}

// TestLivelockVCPUs: the trap stays suspended as long as one vCPU is tested. The verdict
// names the vCPU that the trap held up.
func TestLivelockVCPUs(t *testing.T) {
	t.Parallel()
	var did changes
	l := newLivelock(2, true)
	var cpu uint64
	sample := func(i int, rip uint64) {
		cpu++
		did.add(l.sample(i, int64(cpu), cpu, &driver.Registers{RIP: rip}))
	}
	for range 1 + stillSamples {
		sample(0, 1)
		sample(1, 2)
	}
	sample(0, 1) // its own loop
	if fmt.Sprint(did) != "[true]" {
		t.Fatalf("host view %v while a vCPU is tested, want it once", did)
	}
	for n := range awaySamples {
		sample(1, 100+uint64(n))
	}
	v, _, found := l.found()
	if !found || !slices.Equal(v.VCPUs, []int{1}) || v.Scope != detect.Partial {
		t.Errorf("verdict %v: %+v, want one about vCPU 1", found, v)
	}
}
