package trial

import (
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
	"hangbench/results"
	"hangbench/scenarios"
)

const (
	// armTime is how long PID 1 may take to arm the watchdogs and log it.
	armTime = 10 * time.Second
	// armPoll is how often the console is looked at meanwhile. It is short because
	// this line ties the clock of the guest's log to dom0's: how late it is seen is
	// how late all reports seem.
	armPoll = 2 * time.Millisecond
	// slowPoll is how often the console is looked at while nothing else is waited
	// for: the log has its own times, and looks cost a host with one CPU. It is how
	// late Xen's watchdog seems at most.
	slowPoll = 100 * time.Millisecond
	// afterEnd is how long the console is read after the guest has ended itself.
	afterEnd = 2 * time.Second
	// mostReads bounds how often the console is read in a row.
	mostReads = 64
)

// listener hears what the watchdogs of Linux and Xen say.
type listener struct {
	parser watchdog.Parser
	armed  watchdog.Armed
	naps   bool  // the guest's vCPUs are idle now and then
	since  int64 // when they were armed
	until  int64 // what was said later is not counted, or 0
	t0     int64 // the fault, or 0
	ended  int64 // when Xen's watchdog was seen to have ended the guest, or 0
}

// errand is how PID 1 is asked for a setting.
func errand(s watchdog.Setting) (beat.Errand, error) {
	switch s {
	case watchdog.Default:
		return beat.Watchdogs, nil
	case watchdog.Minimum:
		return beat.QuickWatchdogs, nil
	case watchdog.XenDefault:
		return beat.XenWatchdog, nil
	}
	return 0, fmt.Errorf("watchdogs cannot be set to %q", s)
}

// listen has PID 1 arm the watchdogs, and waits until it says so on the console.
func (r *run) listen() error {
	e, err := errand(watchdog.Setting(r.p.Baselines))
	if err != nil {
		return err
	}
	r.listener = &listener{naps: r.sc.Workload.Naps()}
	token := r.env.Guest.Page().Ask(e)
	for end := r.env.Host.Now() + int64(errandTime+armTime); ; {
		if err := r.hear(); err != nil {
			return err
		}
		if a := r.listener.parser.Armed(); a != nil && r.env.Guest.Page().Answered(token) {
			r.listener.armed, r.listener.since = a, r.env.Host.Now()
			return nil
		}
		if r.env.Host.Now() > end {
			return invalid("the guest did not say on its console how its watchdogs are armed")
		}
		if err := r.env.Host.Sleep(r.ctx, armPoll); err != nil {
			return err
		}
	}
}

// hear takes what the console has said, and notices that Xen's watchdog fired.
func (r *run) hear() error {
	l := r.listener
	if l == nil {
		return nil
	}
	for range mostReads {
		b, err := r.env.Guest.Console()
		if err != nil {
			return fmt.Errorf("listen to the watchdogs: %w", err)
		}
		if len(b) == 0 {
			break
		}
		l.parser.Feed(b, r.env.Host.Now())
	}
	if l.armed[watchdog.Xen] != 0 && l.ended == 0 && l.t0 != 0 {
		how, err := r.env.Guest.Ended()
		if err != nil {
			return fmt.Errorf("ask whether Xen's watchdog has fired: %w", err)
		}
		if how == endedByWatchdog {
			l.ended = r.env.Host.Now()
		}
	}
	return nil
}

// endedByWatchdog is what Env.Ended says of a guest that Xen's watchdog ended.
const endedByWatchdog = "watchdog"

// endedByXen reports whether Xen's watchdog has ended the guest.
func (r *run) endedByXen() bool { return r.listener != nil && r.listener.ended != 0 }

// final reports whether there is no way back from what happened to the guest.
func (r *run) final() bool { return r.sc.Final || r.endedByXen() }

// awaited says when the last of the watchdogs is to have fired that may see the
// fault, on dom0's clock. Tasks that sleep for long are not what they are waited
// for with, unless the fault is one that puts tasks to sleep: the time of a
// spinning guest is dear.
func (l *listener) awaited(sign scenarios.Sign) (end int64, who []watchdog.Detector) {
	for _, d := range watchdog.All() {
		threshold, armed := l.armed[d]
		w, ok := watchdog.Window(d, threshold, l.naps)
		if !armed || !ok || d == watchdog.HungTask && sign != scenarios.Stuck {
			continue
		}
		who = append(who, d)
		end = max(end, l.t0+int64(w.To))
	}
	return end, who
}

// awaitBaselines keeps the fault for as long as the watchdogs need, or until
// each of them has reported.
func (r *run) awaitBaselines() error {
	l := r.listener
	if l == nil {
		return nil
	}
	r.env.Log.Progress("await watchdogs")
	end, who := l.awaited(r.sc.Sign)
	if r.sc.Sign == scenarios.Ended {
		end, who = r.env.Host.Now()+int64(afterEnd), []watchdog.Detector{watchdog.Panic}
	}
	for said := r.env.Host.Now(); ; {
		if err := r.hear(); err != nil {
			return err
		}
		now := r.env.Host.Now()
		if now >= end || l.ended != 0 || l.haveReported(who) {
			l.until = now
			return nil
		}
		if now-said >= int64(sayEvery) {
			said = now
			r.env.Log.Progress(fmt.Sprintf("await watchdogs, %d of %d s", (now-l.t0)/1e9, (end-l.t0)/1e9))
		}
		if err := r.env.Host.Sleep(r.ctx, min(slowPoll, time.Duration(end-now))); err != nil {
			return err
		}
	}
}

// haveReported reports whether each of them has reported since the fault.
func (l *listener) haveReported(who []watchdog.Detector) bool {
	for _, d := range who {
		if b := l.baseline(d, true); !b.Detected {
			return false
		}
	}
	return true
}

// baseline says what became of one detector.
func (l *listener) baseline(d watchdog.Detector, fault bool) results.Baseline {
	b := results.Baseline{Detector: string(d)}
	threshold, armed := l.armed[d]
	b.Armed, b.ThresholdNS = armed || d == watchdog.Panic, int64(threshold)
	if w, ok := watchdog.Window(d, threshold, l.naps); ok && armed {
		b.FromNS, b.ToNS = int64(w.From), int64(w.To)
	}
	if d == watchdog.Xen {
		if l.ended != 0 {
			t := l.ended - l.t0
			b.Detected, b.DetectNS, b.Reports, b.Text = true, &t, 1, "domain ended: watchdog"
		}
		return b
	}
	for _, f := range l.parser.Findings() {
		at, ok := l.parser.Clock().Instant(f.Printk)
		if f.Detector != d || !ok || at < l.since || l.until != 0 && f.Arrival > l.until {
			continue
		}
		if !b.Armed {
			// It reports, so it is: the guest's word on it was wrong.
			b.Armed = true
		}
		if !fault || at < l.t0 {
			b.FalseAlarms++
			continue
		}
		if b.Reports++; b.Reports > 1 {
			continue
		}
		t := at - l.t0
		b.Detected, b.DetectNS, b.Task, b.Text = true, &t, f.Task, f.Text
		if f.VCPU >= 0 {
			b.VCPU = &f.VCPU
		}
	}
	return b
}

// writeBaselines writes down what was heard.
func (r *run) writeBaselines() {
	l := r.listener
	if l.armed == nil {
		return
	}
	out := &results.Baselines{Setting: r.p.Baselines}
	until := l.until
	if until == 0 {
		until = r.env.Host.Now()
	}
	start := l.t0
	if start == 0 {
		start = l.since
	}
	out.WatchedNS = until - start
	for _, d := range watchdog.All() {
		if d == watchdog.Xen && r.p.Baselines != string(watchdog.XenDefault) {
			continue
		}
		out.Detectors = append(out.Detectors, l.baseline(d, l.t0 != 0))
	}
	r.rec.Baselines = out
}
