package trial_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/trial"
	"hangbench/results"
	"hangbench/scenarios/sign"
	"hangbench/scenarios/suites"
)

// madeUp is an observer that does what a test says, at times after it was attached or
// after the fault.
type madeUp struct {
	name string
	w    *world

	alarm, clear, dies time.Duration // after the fault; 0: never
	early              time.Duration // an alarm so long after it was attached; 0: none
	attachErr          error
	detachErr          error
	pollErr            error // what it dies of, nil: it fails
	patience           time.Duration
	destroys           bool
	diesAfterAttach    time.Duration // 0: never

	attached int64
	t0       int64
	reports  []trial.Report
}

func (m *madeUp) Name() string { return m.name }

func (m *madeUp) Attach(_ context.Context, s trial.Subject) error {
	m.w.call("attach %s", m.name)
	m.attached = m.w.now
	if s.Settings.Sample != 100*time.Millisecond || s.Clock == nil || s.Guest == nil {
		m.w.t.Errorf("%s is to watch %+v", m.name, s)
	}
	return m.attachErr
}

func (m *madeUp) report(at int64) {
	m.reports = append(m.reports, trial.Report{
		Guard: m.name, AtNS: at, SeenNS: m.w.now, Class: "spin", Scope: "partial", Evidence: []string{"made up"}, VCPU: 1,
		Task: "init:1",
	})
}

func (m *madeUp) Poll(t0 int64) error {
	m.t0 = t0
	past := func(since int64, after *time.Duration) bool {
		if *after == 0 || since == 0 || m.w.now < since+int64(*after) {
			return false
		}
		*after = 0
		return true
	}
	early := m.early
	if past(m.attached, &m.early) {
		m.report(m.attached + int64(early))
	}
	alarm := m.alarm
	if past(t0, &m.alarm) {
		m.report(t0 + int64(alarm))
	}
	clear := m.clear
	if past(t0, &m.clear) {
		m.reports[len(m.reports)-1].EndNS = t0 + int64(clear)
	}
	dies := m.dies
	if past(m.attached, &m.diesAfterAttach) {
		return trial.Failed("%s ended", m.name)
	}
	if dies != 0 && (t0 != 0 && past(t0, &m.dies) || dies < 0) {
		if m.pollErr != nil {
			return m.pollErr
		}
		return trial.Failed("%s ended", m.name)
	}
	return nil
}

func (m *madeUp) Reports() []trial.Report { return slices.Clone(m.reports) }

func (m *madeUp) Guards() []trial.Guard {
	return []trial.Guard{{Name: m.name, Armed: true, ThresholdNS: 3, FromNS: 1, ToNS: 2}}
}

func (m *madeUp) Detach(context.Context) (trial.Counts, error) {
	m.w.call("detach %s", m.name)
	return trial.Counts{Events: results.Events{Delivered: 5}}, m.detachErr
}

// patient is a madeUp for which a fault stays.
type patient struct{ *madeUp }

func (p patient) Await(now, t0 int64, e sign.Effects) int64 {
	if now < t0 || t0 != p.w.faulted {
		p.w.t.Errorf("awaited at %d of a fault at %d, which was at %d", now, t0, p.w.faulted)
	}
	return t0 + int64(p.patience)
}

func (p patient) Complete() bool { return len(p.reports) > 0 }

func (p patient) Destroyed() bool { return p.destroys && len(p.reports) > 0 }

// TestExternal: an observer that is not our monitor gives the verdict, the alarm and
// the all-clear, and its failure is the trial's.
func TestExternal(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	records := openGolden(t, "external")
	for _, tc := range []struct {
		name     string
		scenario string
		set      func(*madeUp, *world)
		outcome  results.Outcome
		reason   string
		err      error
	}{
		{"detected", deadlock, func(m *madeUp, w *world) { m.alarm, m.clear = 700*time.Millisecond, 1500*time.Millisecond },
			results.Detected, "", nil},
		{"detected, and never cleared", deadlock, func(m *madeUp, w *world) { m.alarm = 700 * time.Millisecond },
			results.Detected, "", nil},
		{"cleared before the fault was removed", deadlock, func(m *madeUp, w *world) {
			m.alarm, m.clear = 100*time.Millisecond, 500*time.Millisecond
		}, results.Detected, "", nil},
		{"cleared when the fault was removed", deadlock, func(m *madeUp, w *world) {
			m.alarm, m.clear = 100*time.Millisecond, 1200*time.Millisecond
		}, results.Detected, "", nil},
		{"missed", deadlock, nil, results.Missed, "", nil},
		{"clean", idle, nil, results.Clean, "", nil},
		{"false alarm", idle, func(m *madeUp, w *world) { m.early = time.Second }, results.FalseAlarm, "", nil},
		{"false alarm before the fault", deadlock, func(m *madeUp, w *world) { m.early = time.Second }, results.FalseAlarm,
			"", nil},
		{"cannot be attached", deadlock, func(m *madeUp, w *world) { m.attachErr = trial.Failed("probe is not ready") },
			results.Invalid, "probe is not ready", nil},
		{"dies", deadlock, func(m *madeUp, w *world) { m.dies = time.Second }, results.Invalid, "probe ended", nil},
		{"dies after its verdict", deadlock, func(m *madeUp, w *world) {
			m.alarm, m.dies = 700*time.Millisecond,
				1500*time.Millisecond
		}, results.Invalid, "probe ended", nil},
		{"fails to detach", idle, func(m *madeUp, w *world) { m.detachErr = trial.Failed("probe hung") }, results.Invalid,
			"probe hung", nil},
		{"two failures", deadlock, func(m *madeUp, w *world) {
			m.dies, m.detachErr = time.Second,
				trial.Failed("probe hung")
		}, results.Invalid, "probe ended; probe hung", nil},
		{"the guest fails it", deadlock, func(m *madeUp, w *world) {
			m.attachErr = fmt.Errorf("attach probe: %w", trial.Invalid("the guest is\nsilent"))
		}, results.Invalid, "attach probe: the guest is; silent", nil},
		{"the host fails it", deadlock, func(m *madeUp, w *world) { m.attachErr = broken }, "", "", broken},
		{"the host fails a poll", deadlock, func(m *madeUp, w *world) { m.dies, m.pollErr = time.Second, broken }, "", "",
			broken},
		{"the host and the guest fail it", deadlock, func(m *madeUp, w *world) {
			m.attachErr = fmt.Errorf("attach: %w", errors.Join(trial.Invalid("silent"), broken))
		}, "", "", broken},
		{"the host fails to detach it", idle, func(m *madeUp, w *world) { m.detachErr = broken }, "", "", broken},
		{"cannot be broken on purpose", "monitor-livelock", nil, results.Invalid,
			"the observer probe cannot be broken on purpose", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.signals = 0 // it counts none, which is no failing of an observer that has none
			p := job(tc.scenario, "probe")
			p.Observers = []suites.Observer{{Name: "probe", Command: []string{"/bin/probe"}}}
			m := &madeUp{name: "probe", w: w}
			if tc.set != nil {
				tc.set(m, w)
			}
			env := w.env(p)
			if env.Watcher == nil || env.Watcher.Name() != "probe" || len(env.Beside) != 0 {
				t.Fatalf("watched by %+v, beside %+v", env.Watcher, env.Beside)
			}
			env.Watcher = m
			rec, err := trial.Run(t.Context(), p, env)
			records.check(t, tc.name, rec, err, w)
			if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && (rec.Outcome != tc.outcome || !strings.Contains(rec.Reason, tc.reason) ||
				(rec.Reason == "") != (tc.reason == "") || strings.Contains(rec.Reason, "\n")) {
				t.Errorf("%s %q, want %s %q", rec.Outcome, rec.Reason, tc.outcome, tc.reason)
			}
			if n := len(slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return c != "detach probe" })); n > 1 ||
				(n == 0) != (m.attachErr != nil) {
				t.Errorf("detached %d times: %q", n, w.calls)
			}
			if w.lock != 0 {
				t.Error("the fault is still there")
			}
		})
	}
}

// TestBeside: what observers beside report is recorded, and ends no trial; nor does
// their failure.
func TestBeside(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	at := func(d time.Duration) *int64 { n := int64(d); return &n }
	one := 1
	found := results.Finding{Observer: "a", Armed: true, ThresholdNS: 3, FromNS: 1, ToNS: 2,
		AtNS:    at(300 * time.Millisecond),
		Reports: 1, Class: "spin", Scope: "partial", VCPU: &one, Task: "init:1", Evidence: []string{"made up"}}
	nothing := results.Finding{Observer: "a", Armed: true, ThresholdNS: 3, FromNS: 1, ToNS: 2}
	with := func(f results.Finding, set func(*results.Finding)) results.Finding {
		set(&f)
		return f
	}
	for _, tc := range []struct {
		name     string
		scenario string
		bounded  int64
		set      func(*madeUp)
		want     results.Finding // but for the time watched
		err      error
	}{
		{"reports", deadlock, 0, func(m *madeUp) { m.alarm = 300 * time.Millisecond }, found, nil},
		{"reports nothing", deadlock, 0, func(m *madeUp) {}, nothing, nil},
		{"false alarm before the fault", deadlock, 0, func(m *madeUp) {
			m.early, m.alarm = time.Second,
				300*time.Millisecond
		},
			with(found, func(f *results.Finding) { f.FalseAlarms = 1 }), nil},
		{"false alarm of a control", idle, 0, func(m *madeUp) { m.early = time.Second },
			with(nothing, func(f *results.Finding) { f.FalseAlarms = 1 }), nil},
		{"of a bounded fault", deadlock, 1000, func(m *madeUp) { m.alarm = 300 * time.Millisecond }, found, nil},
		{"when a bounded fault is over", deadlock, 1000, func(m *madeUp) { m.alarm = 2500 * time.Millisecond },
			with(nothing, func(f *results.Finding) { f.FalseAlarms = 1 }), nil},
		{"dies", deadlock, 0, func(m *madeUp) { m.alarm, m.dies = 300*time.Millisecond, 500*time.Millisecond },
			with(found, func(f *results.Finding) { f.Failed = "a ended" }), nil},
		{"dies before the fault", deadlock, 0, func(m *madeUp) { m.dies = -1 },
			with(nothing, func(f *results.Finding) { f.Failed, f.Armed = "a ended", false }), nil},
		{"fails to detach", deadlock, 0, func(m *madeUp) { m.detachErr = trial.Failed("a hung") },
			with(nothing, func(f *results.Finding) { f.Failed = "a hung" }), nil},
		{"the host fails to detach it", deadlock, 0, func(m *madeUp) { m.detachErr = broken }, nothing, broken},
		{"the host fails a poll", deadlock, 0, func(m *madeUp) { m.dies, m.pollErr = time.Second, broken }, nothing, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.alarmAfterFault = 610 * time.Millisecond
			p := job(tc.scenario, "exec-step")
			p.BoundedMS = tc.bounded
			want := results.Detected
			switch {
			case tc.scenario == idle:
				want = results.Clean
			case strings.HasPrefix(tc.name, "when"):
				want, w.alarmAfterFault = results.Undone, never
			}
			m, other := &madeUp{name: "a", w: w}, &madeUp{name: "b", w: w}
			tc.set(m)
			env := w.env(p)
			env.Beside = []trial.Observer{m, other}
			rec, err := trial.Run(t.Context(), p, env)
			if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			// Attached before all else, detached after all else, the last first.
			if n := len(w.calls); !slices.Equal(w.calls[:2], []string{"attach a", "attach b"}) ||
				!slices.Equal(w.calls[n-2:], []string{"detach b", "detach a"}) {
				t.Errorf("calls %q", w.calls)
			}
			if err != nil {
				return
			}
			if err := rec.Validate(); err != nil {
				t.Errorf("the record cannot be stored: %v", err)
			}
			if rec.Outcome != want || len(rec.Findings) != 2 || rec.Findings[1].Observer != "b" || rec.Events.Delivered != 0 {
				t.Fatalf("%s %q, findings %+v", rec.Outcome, rec.Reason, rec.Findings)
			}
			got := rec.Findings[0]
			watched := got.WatchedNS
			got.WatchedNS = 0
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("finding\n%+v\nwant\n%+v", got, tc.want)
			}
			// Watched until the fault was removed; in a control and of a bounded fault until
			// the end, and until it failed.
			var until int64
			switch {
			case strings.HasPrefix(tc.name, "dies before"):
				until = w.faulted
			case strings.HasPrefix(tc.name, "dies"):
				until = w.faulted + int64(500*time.Millisecond)
			case tc.scenario == idle || tc.bounded != 0:
				until = w.now
			default:
				until = w.removedAt
			}
			since := w.faulted
			if since == 0 {
				since = m.attached
			}
			if slack := int64(20 * time.Millisecond); watched < until-since || watched > until-since+slack {
				t.Errorf("watched for %v, want %v", time.Duration(watched), time.Duration(until-since))
			}
		})
	}
}

// TestPatient: a fault stays for as long as an observer beside needs, until all of them
// have reported, or until one has destroyed the guest.
func TestPatient(t *testing.T) {
	t.Parallel()
	const least = 6 * 200 * time.Millisecond // until the ground truth is beyond doubt
	for _, tc := range []struct {
		name  string
		needs [2]time.Duration
		alarm [2]time.Duration
		kills bool
		stays time.Duration
	}{
		{"needs no time", [2]time.Duration{}, [2]time.Duration{}, false, least},
		{"needs its time", [2]time.Duration{9010 * time.Millisecond, 7 * time.Second}, [2]time.Duration{}, false,
			9010 * time.Millisecond},
		{"the other one needs it", [2]time.Duration{7 * time.Second, 9 * time.Second}, [2]time.Duration{}, false,
			9 * time.Second},
		{"one has reported", [2]time.Duration{9 * time.Second, 7 * time.Second}, [2]time.Duration{time.Second, 0}, false,
			9 * time.Second},
		{"both have reported", [2]time.Duration{9 * time.Second, 7 * time.Second},
			[2]time.Duration{3 * time.Second, 4 * time.Second}, false, 4 * time.Second},
		{"the guest is destroyed", [2]time.Duration{9 * time.Second, 7 * time.Second}, [2]time.Duration{0, 4 * time.Second},
			true, 4 * time.Second},
		{"for long", [2]time.Duration{50 * time.Second, 0}, [2]time.Duration{}, false, 50 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.alarmAfterFault = 610 * time.Millisecond
			p := job(deadlock, "exec-step")
			a := &madeUp{name: "a", w: w, patience: tc.needs[0], alarm: tc.alarm[0]}
			b := &madeUp{name: "b", w: w, patience: tc.needs[1], alarm: tc.alarm[1], destroys: tc.kills}
			env := w.env(p)
			env.Beside = []trial.Observer{patient{a}, patient{b}}
			rec, err := trial.Run(t.Context(), p, env)
			if err != nil || rec.Outcome != results.Detected {
				t.Fatalf("%s %q, %v", rec.Outcome, rec.Reason, err)
			}
			end := w.removedAt
			if tc.kills {
				if rec.Recovered != nil || w.removedAt != 0 || len(w.toldRemoved) != 0 {
					t.Errorf("a guest that is gone: recovered %v, removed at %d, told %v", rec.Recovered, w.removedAt, w.toldRemoved)
				}
				end = w.now
			}
			// Exactly until the time is over; a report is seen at the next poll.
			slack := 100 * time.Millisecond
			if tc.alarm == [2]time.Duration{} {
				slack = 0
			}
			if got := time.Duration(end - w.faulted); got < tc.stays || got > tc.stays+slack {
				t.Errorf("the fault stayed for %v, want %v", got, tc.stays)
			}
			var told []string
			for _, s := range w.stages {
				if strings.HasPrefix(s, "await observers, ") {
					told = append(told, s)
				}
			}
			want := []string(nil)
			if tc.name == "for long" {
				want = []string{"await observers, 21 of 50 s", "await observers, 41 of 50 s"}
			}
			if !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
}

// TestBesideCannotAttach: an observer beside that cannot be attached makes the trial
// invalid; those before it are detached.
func TestBesideCannotAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := job(deadlock, "none")
	env := w.env(p)
	env.Beside = []trial.Observer{&madeUp{name: "a", w: w},
		&madeUp{name: "b", w: w, attachErr: trial.Failed("b is not there")}}
	rec, err := trial.Run(t.Context(), p, env)
	if err != nil || rec.Outcome != results.Invalid || rec.Reason != "b is not there" {
		t.Errorf("%s %q, %v", rec.Outcome, rec.Reason, err)
	}
	if want := []string{"attach a", "attach b", "detach a"}; !slices.Equal(w.calls, want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	if len(rec.Findings) != 1 || rec.Findings[0].Observer != "a" {
		t.Errorf("findings %+v", rec.Findings)
	}
}
