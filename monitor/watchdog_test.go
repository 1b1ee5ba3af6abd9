package monitor

import (
	"fmt"
	"slices"
	"testing"

	"hangbench/monitor/detect"
)

// probed is a mechanism of which only probe is used.
type probed struct {
	mechanism
	calls []bool
}

func (p *probed) probe(host bool) error { p.calls = append(p.calls, host); return nil }

// What a vCPU does between two samples.
const (
	stays   = iota // runs and keeps its registers
	handler        // runs and is seen with other registers
	waits          // does not run
	signals        // gives a sign of life
	paused         // is not to run
)

// TestWatchdog follows one vCPU from sample to sample, in the fake's place and
// without its goroutine: what it does in the host view is part of the script.
func TestWatchdog(t *testing.T) {
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
			m := &probed{}
			s := &Session{cfg: Config{Mechanism: Mechanism{Views: true}}, mech: m, watchdog: newWatchdog(1)}
			var cpu uint64
			found := false
			for now, what := range slices.Concat(tc.does...) {
				r := Registers{RIP: trapVA}
				if what == handler {
					r.General[3] = uint64(now) + 1
				}
				if what != waits {
					cpu++
				}
				var err error
				switch what {
				case signals:
					s.watchdog.alive(0)
				case paused:
					err = s.watchdog.gone(s, 0)
				default:
					err = s.watchdog.sample(s, 0, int64(now)*1e8, cpu, &r)
				}
				if err != nil {
					t.Fatal(err)
				}
				v, stuck := s.watchdog.livelock()
				found = found || stuck
				if stuck && (v.Class != detect.ClassMonitor || v.Scope != detect.Full || len(v.Evidence) != 1) {
					t.Errorf("verdict %+v", v)
				}
			}
			if found != tc.verdict || fmt.Sprint(m.calls) != fmt.Sprint(tc.host) {
				t.Errorf("verdict %v, host view %v; want %v, %v", found, m.calls, tc.verdict, tc.host)
			}
		})
	}
}

// TestWatchdogVCPUs: as long as one vCPU is tried the others stay in the host
// view too, and the verdict is about the one that was held up.
func TestWatchdogVCPUs(t *testing.T) {
	m := &probed{}
	s := &Session{cfg: Config{Mechanism: Mechanism{Views: true}}, mech: m, watchdog: newWatchdog(2)}
	var cpu uint64
	look := func(i int, rip uint64) {
		t.Helper()
		cpu++
		if err := s.watchdog.sample(s, i, int64(cpu), cpu, &Registers{RIP: rip}); err != nil {
			t.Fatal(err)
		}
	}
	for range 1 + stillSamples {
		look(0, 1)
		look(1, 2)
	}
	look(0, 1) // its own loop
	if fmt.Sprint(m.calls) != "[true]" {
		t.Fatalf("host view %v while a vCPU is tried, want it once", m.calls)
	}
	for n := range awaySamples {
		look(1, 100+uint64(n))
	}
	v, found := s.watchdog.livelock()
	if !found || !slices.Equal(v.VCPUs, []int{1}) || v.Scope != detect.Partial {
		t.Errorf("verdict %v: %+v, want one about vCPU 1", found, v)
	}
}
