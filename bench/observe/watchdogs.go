package observe

import (
	"context"
	"fmt"
	"time"

	"hangbench/bench/trial"
	"hangbench/guests/beat"
	"hangbench/guests/watchdog"
	"hangbench/scenarios/sign"
)

const (
	// armTime is how long PID 1 may take to arm the watchdogs and log it, once it has
	// accepted the request within requestTime.
	armTime     = 10 * time.Second
	requestTime = 10 * time.Second
	// armPoll is how often the console is read meanwhile. It is short because this line
	// ties the clock of the guest's log to dom0's: the later it is read, the later all
	// reports seem.
	armPoll = 2 * time.Millisecond
	// afterEnd is how long the console is read after the guest has ended itself.
	afterEnd = 2 * time.Second
	// mostReads bounds how often the console is read in a row.
	mostReads = 64
)

// Linux is the watchdogs of the guest's own kernel. They report on its console.
type Linux struct {
	Setting watchdog.Setting

	subject trial.Subject
	parser  watchdog.Parser
	armed   watchdog.Armed
	naps    bool  // the guest's vCPUs are idle now and then
	since   int64 // when the watchdogs were armed
	t0      int64 // when the fault landed, or 0
	awaited []watchdog.Detector
}

// Watchdogs returns the observers of a setting: none if it is Off, and Xen's beside
// Linux's if the setting has it.
func Watchdogs(s watchdog.Setting) []trial.Observer {
	switch s {
	case watchdog.Off:
		return nil
	case watchdog.XenDefault:
		l := &Linux{Setting: s}
		return []trial.Observer{l, &Xen{Linux: l}}
	}
	return []trial.Observer{&Linux{Setting: s}}
}

// Name is linux.
func (l *Linux) Name() string { return "linux" }

// request returns the request by which PID 1 arms the watchdogs.
func (l *Linux) request() (beat.Request, error) {
	switch l.Setting {
	case watchdog.Default:
		return beat.Watchdogs, nil
	case watchdog.Minimum:
		return beat.QuickWatchdogs, nil
	case watchdog.XenDefault:
		return beat.XenWatchdog, nil
	}
	return "", fmt.Errorf("watchdogs cannot be set to %q", l.Setting)
}

// Attach has PID 1 arm the watchdogs, and waits until the console says that they are.
func (l *Linux) Attach(ctx context.Context, s trial.Subject) error {
	e, err := l.request()
	if err != nil {
		return err
	}
	*l = Linux{Setting: l.Setting, subject: s, naps: s.Workload.Naps}
	page := s.Guest.Page()
	token := page.Ask(e)
	for end := s.Clock.Now() + int64(requestTime+armTime); ; {
		if err := l.Poll(0); err != nil {
			return err
		}
		if a := l.parser.Armed(); a != nil && page.Answered(token) {
			l.armed, l.since = a, s.Clock.Now()
			return nil
		}
		if s.Clock.Now() > end {
			return trial.Invalid("the guest did not say on its console how its watchdogs are armed")
		}
		if err := s.Clock.Sleep(ctx, armPoll); err != nil {
			return err
		}
	}
}

// Poll reads the console.
func (l *Linux) Poll(t0 int64) error {
	l.t0 = t0
	for range mostReads {
		b, err := l.subject.Guest.Console()
		if err != nil {
			return fmt.Errorf("read the reports of the watchdogs: %w", err)
		}
		if len(b) == 0 {
			break
		}
		l.parser.Feed(b, l.subject.Clock.Now())
	}
	return nil
}

// Reports are the kernel's reports since the watchdogs were armed, by the time in the
// kernel's log.
func (l *Linux) Reports() []trial.Report {
	var reports []trial.Report
	for _, f := range l.parser.Findings() {
		at, ok := l.parser.Clock().Instant(f.Printk)
		if !ok || at < l.since {
			continue
		}
		reports = append(reports, trial.Report{
			Guard: string(f.Detector), AtNS: at, SeenNS: f.Arrival, VCPU: f.VCPU, Task: f.Task, Text: f.Text,
		})
	}
	return reports
}

// Guards are the kernel's detectors. A panic needs no threshold and is always armed.
func (l *Linux) Guards() []trial.Guard {
	var guards []trial.Guard
	for _, d := range watchdog.All() {
		if d != watchdog.Xen {
			guards = append(guards, l.guard(d))
		}
	}
	return guards
}

// guard is one detector, as the guest says that it is armed.
func (l *Linux) guard(d watchdog.Detector) trial.Guard {
	threshold, armed := l.armed[d]
	g := trial.Guard{Name: string(d), Armed: armed || d == watchdog.Panic, ThresholdNS: int64(threshold)}
	if w, ok := watchdog.Window(d, threshold, l.naps); ok && armed {
		g.FromNS, g.ToNS = int64(w.From), int64(w.To)
	}
	return g
}

// Await gives the last of the detectors that may see the fault its time. The detector
// of hung tasks is awaited only if the fault puts tasks to sleep: the time of a
// spinning guest is expensive.
func (l *Linux) Await(now, t0 int64, e sign.Effects) (until int64) {
	l.t0, l.awaited = t0, nil
	if e.GuestEnds {
		l.awaited = []watchdog.Detector{watchdog.Panic}
		return now + int64(afterEnd)
	}
	for _, d := range watchdog.All() {
		threshold, armed := l.armed[d]
		w, ok := watchdog.Window(d, threshold, l.naps)
		if !armed || !ok || d == watchdog.Xen || d == watchdog.HungTask && !e.TasksSleep {
			continue
		}
		l.awaited = append(l.awaited, d)
		until = max(until, t0+int64(w.To))
	}
	return until
}

// Complete reports whether each of the detectors that are awaited has reported the
// fault.
func (l *Linux) Complete() bool {
	reports := l.Reports()
	for _, d := range l.awaited {
		found := false
		for _, r := range reports {
			found = found || r.Guard == string(d) && r.AtNS >= l.t0
		}
		if !found {
			return false
		}
	}
	return true
}

// Detach leaves the watchdogs armed: the guest ends with the trial.
func (l *Linux) Detach(context.Context) (trial.Counts, error) { return trial.Counts{}, nil }
