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
	handler        // runs and is seen with other registers
	waits          // does not run
	signals        // gives a sign of life
	paused         // is not to run
	echoes         // runs, keeps its registers, and meets the trap over and over
	repeats        // meets it over and over too, and is seen with other registers
)

// TestStandingStill follows one vCPU from sample to sample, in the fake's place and
// without its goroutine: what it does in the host view is part of the script.
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
		{"a sign of life between", [][]int{stuck[1:], rep(1, signals), stuck[1:]}, false, nil},
		{"does not run", [][]int{stuck[:1], rep(20, waits)}, false, nil},
		{"own loop", [][]int{stuck, rep(20, stays)}, false, []bool{true, false}},
		{"own loop, sampled in its timer tick", [][]int{stuck, rep(2, handler), rep(20, stays)}, false, []bool{true, false}},
		{"own loop, tried once only", [][]int{stuck, rep(1, stays), rep(2, handler), stuck, rep(20, handler), stuck, gone}, false, []bool{true, false}},
		{"own loop that ends, and a livelock later", [][]int{stuck, rep(1, stays), rep(1, signals), stuck, gone}, true, []bool{true, false, true}},
		{"paused while it is tried", [][]int{stuck, rep(3, paused), gone}, false, []bool{true, false}},
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

// TestRepeatedStops: events at which nothing has moved are no sign of life, and
// are the monitor's doing only if the vCPU moves on once the trap is lifted.
func TestRepeatedStops(t *testing.T) {
	t.Parallel()
	rep := func(n int, what int) []int { return slices.Repeat([]int{what}, n) }
	stuck := rep(1+stillSamples, echoes)
	gone := rep(awaySamples, handler)
	for _, tc := range []struct {
		name    string
		does    [][]int
		altp2m  bool
		verdict bool
		lifted  []bool
	}{
		{"livelock", [][]int{stuck, gone}, false, true, []bool{true}},
		{"livelock in a view", [][]int{stuck, gone}, true, true, []bool{true}},
		{"still at it with the trap lifted", [][]int{stuck, rep(1, echoes), gone}, false, false, []bool{true, false}},
		{"an event elsewhere between", [][]int{stuck[1:], rep(1, signals), stuck[1:]}, false, false, nil},
		{"echoes end before it is long enough", [][]int{stuck[1:], rep(20, stays)}, false, false, nil},
		{"an instruction that repeats", [][]int{rep(20, repeats)}, false, false, nil},
		{"no event and no view: not the monitor's", [][]int{rep(20, stays)}, false, false, nil},
		{"own loop at the trap", [][]int{stuck, rep(1, stays), rep(20, echoes)}, false, false, []bool{true, false}},
		{"own loop at the trap, sampled in its timer tick", [][]int{stuck, rep(2, handler), rep(1, stays)}, false, false, []bool{true, false}},
		{"paused while it is tried", [][]int{stuck, rep(1, paused), gone}, false, false, []bool{true, false}},
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
						t.Error("an event elsewhere is taken for an echo")
					}
				default:
					if what == handler || what == repeats {
						r.General[3] = uint64(n) + 1
					}
					if what == echoes || what == repeats {
						for range 3 {
							l.event(&driver.Event{Kind: driver.EventAccess, RIP: trapVA, RSP: 16}, clock)
						}
					}
					did.add(l.sample(0, now, cpu, &r))
				}
				v, since, stuck := l.found()
				found = found || stuck
				if stuck && (v.Class != detect.ClassMonitor || len(v.Evidence) != 1 || since != 1e8) {
					t.Errorf("verdict %+v, stuck since %d; want since the first echo", v, since)
				}
			}
			if found != tc.verdict || fmt.Sprint(did) != fmt.Sprint(tc.lifted) {
				t.Errorf("verdict %v, trap lifted %v; want %v, %v", found, did, tc.verdict, tc.lifted)
			}
		})
	}
	// The writes of CR3 of two threads look alike, and are over when they are told of.
	w := newLivelock(1, false)
	for range 3 {
		if w.event(&driver.Event{Kind: driver.EventCR3, RIP: cr3VA}, nil) {
			t.Error("a write of CR3 is taken for an echo")
		}
	}
}

// TestLivelockVCPUs: as long as one vCPU is tried the others stay in the host
// view too, and the verdict is about the one that was held up.
func TestLivelockVCPUs(t *testing.T) {
	t.Parallel()
	var did changes
	l := newLivelock(2, true)
	var cpu uint64
	look := func(i int, rip uint64) {
		cpu++
		did.add(l.sample(i, int64(cpu), cpu, &driver.Registers{RIP: rip}))
	}
	for range 1 + stillSamples {
		look(0, 1)
		look(1, 2)
	}
	look(0, 1) // its own loop
	if fmt.Sprint(did) != "[true]" {
		t.Fatalf("host view %v while a vCPU is tried, want it once", did)
	}
	for n := range awaySamples {
		look(1, 100+uint64(n))
	}
	v, _, found := l.found()
	if !found || !slices.Equal(v.VCPUs, []int{1}) || v.Scope != detect.Partial {
		t.Errorf("verdict %v: %+v, want one about vCPU 1", found, v)
	}
}
