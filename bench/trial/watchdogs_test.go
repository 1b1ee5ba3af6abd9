package trial_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
	"hangbench/results"
)

// kernelLog is the console of the fake guest. Its log began before the trial's clock.
type kernelLog struct {
	w    *world
	text []byte
	// armed is what PID 1 says when it is asked.
	armed watchdog.Armed
	mute  bool
	err   error
	// reports are written that long after the fault; if quiet, after the watchdogs were
	// armed.
	quiet   bool
	reports map[time.Duration]string
	armedAt int64
	endsAt  time.Duration // when Xen ends the guest, after the fault
}

// armPoll is how often Linux.Attach reads the console.
const armPoll = 2 * time.Millisecond

const booted = -77_000_000_000 // when the guest's log began, on the trial's clock

func (k *kernelLog) say(at int64, text string) {
	since := at - booted
	k.text = fmt.Appendf(k.text, "[%5d.%06d] %s\n", since/1e9, since%1e9/1e3, text)
}

// pass writes what is due. It is called after each sleep of the trial.
func (k *kernelLog) pass() {
	if len(k.w.asked) > 0 && k.armedAt == 0 {
		k.armedAt = k.w.now
		if !k.mute {
			k.say(k.w.now, k.armed.String())
		}
	}
	start := k.w.faulted
	if k.quiet {
		start = k.armedAt
	}
	for after, text := range k.reports {
		if start != 0 && k.w.now >= start+int64(after) {
			k.say(start+int64(after), text)
			delete(k.reports, after)
		}
	}
	if k.endsAt != 0 && k.w.faulted != 0 && k.w.now >= k.w.faulted+int64(k.endsAt) {
		k.w.how, k.w.fatal = "watchdog", true
	}
}

func (k *kernelLog) read() ([]byte, error) {
	b := k.text
	k.text = nil
	return b, k.err
}

func newKernelLog(w *world) *kernelLog {
	k := &kernelLog{w: w, reports: map[time.Duration]string{}, armed: watchdog.Armed{
		watchdog.SoftLockup: 10 * time.Second, watchdog.RCUStall: 21 * time.Second, watchdog.HungTask: 120 * time.Second,
	}}
	w.onSleep = k.pass
	return k
}

const (
	softReport = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:77]"
	rcuReport  = "rcu: INFO: rcu_sched self-detected stall on CPU"
	hungReport = "INFO: task init:78 blocked for more than 120 seconds."
)

// runBaselines runs a trial of a scenario with the setting.
func runBaselines(t *testing.T, scenario, mechanism string, s watchdog.Setting,
	set func(*world, *kernelLog)) (results.Trial, *world, error) {
	t.Helper()
	w := newWorld(t)
	k := newKernelLog(w)
	if set != nil {
		set(w, k)
	}
	p := job(scenario, mechanism)
	p.Watchdogs = string(s)
	w.console = k.read
	rec, err := w.run(t.Context(), p)
	if err == nil {
		if err := rec.Validate(); err != nil {
			t.Errorf("the record cannot be stored: %v", err)
		}
	}
	return rec, w, err
}

// detector finds one in a record.
func detector(t *testing.T, rec results.Trial, d watchdog.Detector) results.Finding {
	t.Helper()
	if rec.Findings == nil {
		t.Fatalf("no baselines: %s %s", rec.Outcome, rec.Reason)
	}
	i := slices.IndexFunc(rec.Findings, func(b results.Finding) bool { return b.Observer == string(d) })
	if i < 0 {
		t.Fatalf("no %s among %+v", d, rec.Findings)
	}
	return rec.Findings[i]
}

// TestBaselineReports: the time of a report follows from the time in the kernel's log,
// however late the console is read.
func TestBaselineReports(t *testing.T) {
	t.Parallel()
	rec, w, err := runBaselines(t, deadlock, "exec-step", watchdog.Default, func(w *world, k *kernelLog) {
		w.alarmAfterFault = 600 * time.Millisecond
		k.reports[21_300*time.Millisecond] = softReport
		k.reports[23*time.Second] = strings.Replace(softReport, "22s", "26s", 1)
	})
	if err != nil || rec.Outcome != results.Detected || rec.DetectNS == nil || *rec.DetectNS > 1e9 {
		t.Fatalf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
	}
	soft := detector(t, rec, watchdog.SoftLockup)
	// The log has microseconds, and the line that ties the two clocks together was read
	// within armPoll.
	if soft.AtNS == nil || *soft.AtNS < 21_300e6-1e3 || *soft.AtNS > 21_300e6+int64(armPoll) {
		t.Errorf("soft lockup: %+v, want a report at 21.3 s", soft)
	}
	if soft.Reports != 2 || len(soft.Evidence) == 0 || soft.Evidence[0] != softReport || soft.Task != "init:77" ||
		soft.VCPU == nil || *soft.VCPU != 0 || soft.ThresholdNS != 10e9 || soft.FromNS != 24e9 {
		t.Errorf("soft lockup: %+v", soft)
	}
	if rcu := detector(t, rec, watchdog.RCUStall); rcu.AtNS != nil || !rcu.Armed || rcu.ThresholdNS != 21e9 {
		t.Errorf("RCU stall: %+v, want none", rcu)
	}
	if hard := detector(t, rec, watchdog.HardLockup); hard.Armed || hard.AtNS != nil {
		t.Errorf("hard lockup: %+v, want it absent", hard)
	}
	// The fault stayed for the detector that did not report, and no longer.
	window, _ := watchdog.Window(watchdog.SoftLockup, 10*time.Second, true)
	if stay := time.Duration(w.removedAt - w.faulted); stay < window.To || stay > window.To+2*trial.SlowPoll {
		t.Errorf("the fault was removed after %v, want %v", stay, window.To)
	}
	if rec.Findings[0].WatchedNS < int64(window.To) || rec.Watchdogs != "default" {
		t.Errorf("baselines %+v", rec.Findings)
	}
	if rec.Recovered == nil || !*rec.Recovered {
		t.Errorf("recovered: %v", rec.Recovered)
	}
	if w.asked[0] != beat.Watchdogs {
		t.Errorf("asked for %v", w.asked)
	}
}

// TestBaselinesEnd: there is nothing to wait for when all have reported.
func TestBaselinesEnd(t *testing.T) {
	t.Parallel()
	rec, w, err := runBaselines(t, deadlock, "none", watchdog.Minimum, func(w *world, k *kernelLog) {
		k.reports[3*time.Second], k.reports[4*time.Second] = softReport, rcuReport
	})
	if err != nil || rec.Outcome != results.Missed {
		t.Fatalf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
	}
	if stay := time.Duration(w.removedAt - w.faulted); stay < 4*time.Second || stay > 4*time.Second+2*trial.SlowPoll {
		t.Errorf("the fault was removed after %v", stay)
	}
	if w.asked[0] != beat.QuickWatchdogs {
		t.Errorf("asked for %v", w.asked)
	}
}

// TestBaselinesOfSleepers: a fault that puts tasks to sleep stays until the detector of
// hung tasks has had its time.
func TestBaselinesOfSleepers(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Duration{0, 200 * time.Second} {
		rec, w, err := runBaselines(t, "mutex-deadlock", "none", watchdog.Default, func(w *world, k *kernelLog) {
			w.idleHands = true
			if at != 0 {
				k.reports[at] = hungReport
			}
		})
		if err != nil || rec.Outcome != results.Missed {
			t.Fatalf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
		}
		hung := detector(t, rec, watchdog.HungTask)
		if (hung.AtNS != nil) != (at != 0) || at != 0 && (*hung.AtNS < int64(at)-1e3 || hung.Task != "init:78") {
			t.Errorf("hung task: %+v", hung)
		}
		if stay := time.Duration(w.now - w.faulted); stay < 240*time.Second {
			t.Errorf("the fault was removed after %v", stay)
		}
	}
}

func TestBaselineFalseAlarms(t *testing.T) {
	t.Parallel()
	rec, _, err := runBaselines(t, idle, "exec-step", watchdog.Default, func(w *world, k *kernelLog) {
		k.quiet, k.reports[time.Second] = true, rcuReport
	})
	if err != nil || rec.Outcome != results.Clean {
		t.Fatalf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
	}
	if rcu := detector(t, rec, watchdog.RCUStall); rcu.FalseAlarms != 1 || rcu.AtNS != nil || rcu.Reports != 0 {
		t.Errorf("RCU stall: %+v, want one false alarm", rcu)
	}
	if rec.Findings[0].WatchedNS < 2e9 {
		t.Errorf("watched for %d ns", rec.Findings[0].WatchedNS)
	}
}

// TestXenEndsGuest: a guest that Xen has ended does not recover, and nothing is asked of
// it.
func TestXenEndsGuest(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"none", "exec-step"} {
		rec, w, err := runBaselines(t, deadlock, mechanism, watchdog.XenDefault, func(w *world, k *kernelLog) {
			k.armed[watchdog.Xen], k.endsAt = watchdog.XenTimeout, 17*time.Second
			w.alarmAfterFault = time.Second
		})
		if err != nil || rec.Outcome == results.Invalid {
			t.Fatalf("%s: outcome %s %q (%v)", mechanism, rec.Outcome, rec.Reason, err)
		}
		x := detector(t, rec, watchdog.Xen)
		if x.AtNS == nil || *x.AtNS < 17e9 || *x.AtNS > 17e9+2*int64(trial.SlowPoll) || x.ThresholdNS != 30e9 {
			t.Errorf("%s: Xen's watchdog: %+v", mechanism, x)
		}
		if rec.Recovered != nil {
			t.Errorf("%s: recovered %v of a guest that has ended", mechanism, *rec.Recovered)
		}
		if slices.Contains(w.calls, "remove") {
			t.Errorf("%s: the memory of a guest that has ended was mended: %q", mechanism, w.calls)
		}
		if stay := time.Duration(w.now - w.faulted); stay > 18*time.Second {
			t.Errorf("%s: waited for %v", mechanism, stay)
		}
	}
}

// TestWatchdogsOfInvalid: a trial that ends before the watchdogs are armed belongs to
// the cell of its plan all the same, as every invalid trial does.
func TestWatchdogsOfInvalid(t *testing.T) {
	t.Parallel()
	rec, _, err := runBaselines(t, "mutex-deadlock", "none", watchdog.Default,
		func(w *world, k *kernelLog) { w.deaf = true })
	if err != nil || rec.Outcome != results.Invalid || !strings.Contains(rec.Reason, "did not start") {
		t.Fatalf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
	}
	good, _, err := runBaselines(t, "mutex-deadlock", "none", watchdog.Default,
		func(w *world, k *kernelLog) { w.idleHands = true })
	if err != nil || good.Outcome != results.Missed {
		t.Fatalf("outcome %s %q (%v)", good.Outcome, good.Reason, err)
	}
	if rec.Watchdogs != "default" || rec.Cell != good.Cell {
		t.Errorf("the invalid trial is of cell\n%+v\nand the other of\n%+v", rec.Cell, good.Cell)
	}
}

func TestWatchdogsUnknown(t *testing.T) {
	t.Parallel()
	rec, _, err := runBaselines(t, deadlock, "none", watchdog.Default, func(w *world, k *kernelLog) { k.mute = true })
	if err != nil || rec.Outcome != results.Invalid || !strings.Contains(rec.Reason, "did not say on its console") {
		t.Errorf("outcome %s %q (%v)", rec.Outcome, rec.Reason, err)
	}
	broken := errors.New("broken")
	if rec, _, err := runBaselines(t, deadlock, "none", watchdog.Default,
		func(w *world, k *kernelLog) { k.err = broken }); !errors.Is(err, broken) {
		t.Errorf("console that cannot be read: error %v, outcome %s", err, rec.Outcome)
	}
	if rec, _, err := runBaselines(t, deadlock, "none", "sometimes", nil); err == nil {
		t.Errorf("unknown setting: outcome %s", rec.Outcome)
	}
}

// TestWatchdogRecords: whole records of trials with watchdogs.
func TestWatchdogRecords(t *testing.T) {
	t.Parallel()
	records := openGolden(t, "watchdogs")
	sleepers := func(w *world, k *kernelLog) { w.idleHands = true }
	xen := func(w *world, k *kernelLog) {
		k.armed[watchdog.Xen], k.endsAt = watchdog.XenTimeout, 17*time.Second
		w.alarmAfterFault = time.Second
	}
	for _, tc := range []struct {
		name, scenario, mechanism string
		setting                   watchdog.Setting
		set                       func(*world, *kernelLog)
	}{
		{"reports", deadlock, "exec-step", watchdog.Default, func(w *world, k *kernelLog) {
			w.alarmAfterFault = 600 * time.Millisecond
			k.reports[21_300*time.Millisecond] = softReport
			k.reports[23*time.Second] = strings.Replace(softReport, "22s", "26s", 1)
		}},
		{"two report and nobody else is awaited", deadlock, "none", watchdog.Minimum, func(w *world, k *kernelLog) {
			k.reports[3*time.Second], k.reports[4*time.Second] = softReport, rcuReport
		}},
		{"a report after the fault was removed", deadlock, "none", watchdog.Minimum, func(w *world, k *kernelLog) {
			k.reports[3*time.Second], k.reports[4*time.Second] = softReport, rcuReport
			k.reports[4300*time.Millisecond] = hungReport
		}},
		{"tasks that sleep", "mutex-deadlock", "none", watchdog.Default, sleepers},
		{"an absent one reports", deadlock, "none", watchdog.Default, func(w *world, k *kernelLog) {
			delete(k.armed, watchdog.RCUStall)
			k.reports[3*time.Second] = rcuReport
		}},
		{"a report before they were armed", idle, "none", watchdog.Default, func(w *world, k *kernelLog) {
			k.say(k.w.now-1e9, softReport)
		}},
		{"false alarm before the fault", deadlock, "exec-step", watchdog.Default, func(w *world, k *kernelLog) {
			k.quiet, k.reports[time.Second] = true, rcuReport
		}},
		{"Xen ends the guest", deadlock, "exec-step", watchdog.XenDefault, xen},
		{"Xen's is not armed", deadlock, "none", watchdog.XenDefault, func(w *world,
			k *kernelLog) {
			k.endsAt = 17 * time.Second
		}},
		{"the guest panics", "panic", "none", watchdog.XenDefault, func(w *world, k *kernelLog) {
			k.armed[watchdog.Xen] = watchdog.XenTimeout
			k.reports[500*time.Millisecond] = "Kernel panic - not syncing: Fatal exception"
		}},
		{"the guest panics in silence", "panic", "none", watchdog.XenDefault, func(w *world, k *kernelLog) {
			k.armed[watchdog.Xen] = watchdog.XenTimeout
		}},
		{"a control", idle, "exec-step", watchdog.Default, nil},
		{"the guest does not say", deadlock, "none", watchdog.Default, func(w *world, k *kernelLog) { k.mute = true }},
		{"nobody arms them", deadlock, "none", watchdog.Default, func(w *world, k *kernelLog) { w.numb = true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec, w, err := runBaselines(t, tc.scenario, tc.mechanism, tc.setting, tc.set)
			records.check(t, tc.name, rec, err, w)
		})
	}
}
