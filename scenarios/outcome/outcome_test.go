package outcome

import (
	"slices"
	"testing"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
)

const ms = int64(time.Millisecond)

// script says until when, in milliseconds from the fault, each part of a guest counts, and
// at what period. A part counts first one period after the fault.
type script struct {
	name   string
	period int64 // in ms
	units  uint64
	until  int64 // 0: for ever
	from   int64 // counts again from then on; 0: never
	gone   int64 // when its process ended; 0: never
}

// follow follows the parts for length ms, with a sample every 20 ms.
func follow(t *testing.T, length int64, end int64, parts ...script) *Follower {
	t.Helper()
	const t0 = 50_000 * ms
	var all []Part
	counts, gone := make([]uint64, len(parts)), make([]bool, len(parts))
	for i, p := range parts {
		units := p.units
		if units == 0 && p.period > 0 {
			units = uint64(4000 / p.period)
		}
		all = append(all, Part{p.name, units})
		counts[i] = 1000 // the guest has lived for a while
	}
	f := New(t0-20*ms, all, 4*time.Second, counts)
	f.Begin(t0)
	for at := int64(20); at <= length; at += 20 {
		for i, p := range parts {
			if p.period == 0 {
				continue
			}
			n := uint64(0)
			for c := p.period; c <= at; c += p.period {
				if p.until == 0 || c <= p.until || p.from != 0 && c >= p.from {
					n++
				}
			}
			counts[i] = 1000 + n
			gone[i] = p.gone != 0 && at >= p.gone
		}
		f.Add(t0+at*ms, counts, gone)
		if end != 0 && at >= end {
			f.End(t0 + at*ms)
		}
	}
	return f
}

func TestEffect(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	beat0, work0 := script{name: "beat 0", period: 200}, script{name: "work 0", period: 20}
	pid1 := script{name: "pid1", period: 1000}
	until := func(s script, ms int64) script {
		s.until = ms
		return s
	}
	for _, tc := range []struct {
		name    string
		length  int64
		end     int64
		parts   []script
		reached *bool
		want    results.Effect
		hung    int64 // ms; -1: none
		full    int64
	}{
		{"nothing", 8000, 0, []script{beat0, work0, pid1}, nil, results.Effect{What: results.NoEffect}, -1, -1},
		{"not reached", 8000, 0, []script{beat0, work0, pid1}, &no, results.Effect{What: results.NotReached}, -1, -1},
		{"reached", 8000, 0, []script{beat0, work0, pid1}, &yes, results.Effect{What: results.NoEffect}, -1, -1},
		{"a part stops", 8000, 0, []script{beat0, until(work0, 400), pid1}, &yes,
			results.Effect{What: results.PartHung, Stopped: []string{"work 0"}}, 400, -1},
		{"hangs beat not reached", 8000, 0, []script{beat0, until(work0, 400), pid1}, &no,
			results.Effect{What: results.PartHung, Stopped: []string{"work 0"}}, 400, -1},
		{"no time to tell", 1580, 0, []script{beat0, until(work0, 400), pid1}, nil,
			results.Effect{What: results.NoEffect}, -1, -1},
		{"just time to tell", 1600, 0, []script{beat0, until(work0, 400), pid1}, nil,
			results.Effect{What: results.PartHung, Stopped: []string{"work 0"}}, 400, -1},
		{"all stop at once", 9000, 0, []script{until(beat0, 400), until(work0, 440), until(pid1, 1000)}, nil,
			results.Effect{What: results.AllHung, Stopped: []string{"beat 0", "work 0", "pid1"}}, 400, 1000},
		// The work had been still for 1.2 s at 1600 ms.
		{"it grows", 12000, 0, []script{until(beat0, 4000), until(work0, 400), until(pid1, 4000)}, nil,
			results.Effect{What: results.AllHung, Grew: true, Stopped: []string{"beat 0", "work 0", "pid1"}}, 400, 4000},
		{"it does not grow", 12000, 0, []script{until(beat0, 1600), until(work0, 400), until(pid1, 1000)}, nil,
			results.Effect{What: results.AllHung, Stopped: []string{"beat 0", "work 0", "pid1"}}, 400, 1600},
		{"a pause that ends", 8000, 0, []script{beat0, {name: "work 0", period: 20, until: 400, from: 2400}, pid1}, nil,
			results.Effect{What: results.Slowed, Slowed: []string{"work 0"}}, -1, -1},
		// Long pauses again and again: one that goes on at the end is no hang.
		{"a pause each time", 8000, 0, []script{beat0, {name: "work 0", period: 1500, units: 200}, pid1}, nil,
			results.Effect{What: results.Slowed, Slowed: []string{"work 0"}}, -1, -1},
		{"less than half", 8000, 0, []script{beat0, {name: "work 0", period: 500, units: 20}, pid1}, nil,
			results.Effect{What: results.Slowed, Slowed: []string{"work 0"}}, -1, -1},
		{"half", 8000, 0, []script{beat0, {name: "work 0", period: 400, units: 20}, pid1}, nil,
			results.Effect{What: results.NoEffect}, -1, -1},
		{"a process ends", 8000, 0, []script{beat0, {name: "work 0", period: 20, until: 400, gone: 900}, pid1}, nil,
			results.Effect{What: results.Failed, Ended: []string{"work 0"}}, -1, -1},
		{"a process ends, another hangs", 8000, 0,
			[]script{until(beat0, 600), {name: "work 0", period: 20, until: 400, gone: 900}, pid1}, nil,
			results.Effect{What: results.PartHung, Stopped: []string{"beat 0"}, Ended: []string{"work 0"}}, 600, -1},
		{"all the rest hangs", 9000, 0,
			[]script{until(beat0, 600), {name: "work 0", period: 20, until: 400, gone: 900}, until(pid1, 1000)}, nil,
			results.Effect{What: results.AllHung, Stopped: []string{"beat 0", "pid1"}, Ended: []string{"work 0"}}, 600, 1000},
		{"it ends itself", 1000, 700, []script{beat0, work0, pid1}, nil, results.Effect{What: results.Crashed}, 700, -1},
		{"it hangs and ends itself", 9000, 5000, []script{until(beat0, 400), until(work0, 400), until(pid1, 1000)}, nil,
			results.Effect{What: results.Crashed, Stopped: []string{"beat 0", "work 0", "pid1"}}, 400, -1},
		// A part that did nothing before tells nothing.
		{"idle", 9000, 0, []script{beat0, {name: "work 0"}, pid1}, nil, results.Effect{What: results.NoEffect}, -1, -1},
		{"idle, all stop", 9000, 0, []script{until(beat0, 200), {name: "work 0"}, until(pid1, 1000)}, nil,
			results.Effect{What: results.AllHung, Stopped: []string{"beat 0", "pid1"}}, 200, 1000},
		{"dead at once", 9000, 0, []script{until(beat0, 1), until(work0, 1), until(pid1, 1)}, nil,
			results.Effect{What: results.AllHung, Stopped: []string{"beat 0", "work 0", "pid1"}}, 0, 0},
	} {
		got := follow(t, tc.length, tc.end, tc.parts...).Effect(tc.reached)
		at := func(ns *int64) int64 {
			if ns == nil {
				return -1
			}
			return *ns / ms
		}
		if got.What != tc.want.What || got.Grew != tc.want.Grew || !slices.Equal(got.Stopped, tc.want.Stopped) ||
			!slices.Equal(got.Slowed, tc.want.Slowed) || !slices.Equal(got.Ended, tc.want.Ended) ||
			at(got.HungNS) != tc.hung || at(got.FullNS) != tc.full || got.Reached != tc.reached {
			t.Errorf("%s: %+v (hung %d, full %d), want %+v (%d, %d)", tc.name, got, at(got.HungNS), at(got.FullNS), tc.want,
				tc.hung, tc.full)
		}
	}
}

// TestPause: the longest pause of a part that goes on is told.
func TestPause(t *testing.T) {
	t.Parallel()
	e := follow(t, 8000, 0, script{name: "beat 0", period: 200},
		script{name: "work 0", period: 20, until: 400, from: 2400}).Effect(nil)
	if e.PauseNS != 2000*ms {
		t.Errorf("pause %d ms, want 2000", e.PauseNS/ms)
	}
}

// TestSilent: vCPUs whose heartbeat has stopped, by number.
func TestSilent(t *testing.T) {
	t.Parallel()
	f := follow(t, 4000, 0, script{name: Beat(0), period: 200}, script{name: Work(0), period: 20, until: 100},
		script{name: Beat(1), period: 200, until: 400}, script{name: Beat(10), period: 200, until: 400})
	if got := f.Silent(); !slices.Equal(got, []int{1, 10}) {
		t.Errorf("silent: %v", got)
	}
}

func TestRight(t *testing.T) {
	t.Parallel()
	const lock = "native_queued_spin_lock_slowpath"
	full := results.Effect{What: results.AllHung}
	for _, tc := range []struct {
		name   string
		e      results.Effect
		places []Place
		work   beat.Workload
		want   []string
	}{
		{"no hang", results.Effect{What: results.Slowed}, []Place{{Symbol: lock}}, beat.Busy, nil},
		{"crash", results.Effect{What: results.Crashed}, []Place{{Symbol: lock}}, beat.Busy, []string{"panic"}},
		{"lock", full, []Place{{Symbol: lock, Interrupts: true}}, beat.Busy, []string{"spin"}},
		{"lock, interrupts off", full, []Place{{Symbol: lock}}, beat.Busy, []string{"hard", "spin"}},
		{"lock, halted", full, []Place{{Symbol: "pv_native_safe_halt", Halted: true,
			Callers: []string{"x", "__pv_queued_spin_lock_slowpath"}}}, beat.Busy, []string{"spin"}},
		{"interrupts off", full, []Place{{Symbol: "do_work"}}, beat.Busy, []string{"hard"}},
		{"interrupts on", full, []Place{{Symbol: "do_work", Interrupts: true}}, beat.Busy, []string{"soft"}},
		{"in a program", full, []Place{{Interrupts: true, User: true, Callers: []string{lock}}}, beat.Busy,
			[]string{"starvation"}},
		{"halted", full, []Place{{Symbol: "default_idle", Interrupts: true, Halted: true}}, beat.Busy,
			[]string{"blocked", "stopped"}},
		{"panic loop", full, []Place{{Symbol: "delay_tsc", Callers: []string{"panic"}}}, beat.Busy, []string{"panic"}},
		{"no vCPU", results.Effect{What: results.PartHung}, nil, beat.Busy, []string{"blocked"}},
		{"no vCPU, disk", results.Effect{What: results.PartHung}, nil, beat.Disk, []string{"blocked", "io"}},
		{"two vCPUs", full, []Place{{VCPU: 1, Symbol: "f"}, {Symbol: lock, Interrupts: true}, {VCPU: 1, Symbol: "f"}},
			beat.Busy, []string{"hard", "spin"}},
	} {
		if got := Right(&tc.e, tc.places, tc.work); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Place{
		"vCPU 1 runs in f, interrupts off": {VCPU: 1, Symbol: "f"},
		"vCPU 0 is halted in f, interrupts on, called from a < b < c": {Symbol: "f", Interrupts: true, Halted: true,
			Callers: []string{"a", "b", "c"}},
		"vCPU 0 runs in a program, interrupts on":            {User: true, Interrupts: true},
		"vCPU 0 runs in code without a name, interrupts off": {},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
