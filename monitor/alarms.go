package monitor

import (
	"slices"
	"sync"

	"hangbench/monitor/detect"
)

// Alarm is a time during which a session reported the guest as hung, on the
// session's clock.
type Alarm struct {
	Class   detect.Class // of the verdict that raised it
	StartNS int64        // when that verdict was given
	EndNS   int64        // when it was certain that the hang was over; 0 if it never was
}

// MaxAlarms bounds the alarms that a session remembers: the first ones.
const MaxAlarms = 256

// alarms turns verdicts and recoveries into alarms and news.
type alarms struct {
	first  chan detect.Verdict // gets the first verdict; has room for one
	report func(News)          // may be nil

	mu     sync.Mutex // guards what follows: all may be called from any goroutine
	list   []Alarm
	active bool // the last of list has not ended
	// suspected: during this alarm the monitor seemed to cause the hang, once.
	suspected bool
}

func newAlarms(report func(News)) *alarms {
	return &alarms{first: make(chan detect.Verdict, 1), report: report}
}

// raise reports a verdict and begins an alarm, unless one is active: a verdict of
// another class belongs to the same alarm.
func (a *alarms) raise(v detect.Verdict) {
	select {
	case a.first <- v:
	default:
	}
	a.mu.Lock()
	if !a.active && len(a.list) < MaxAlarms {
		a.active, a.suspected = true, false
		a.list = append(a.list, Alarm{Class: v.Class, StartNS: v.TimeNS})
	}
	a.mu.Unlock()
	if a.report != nil {
		a.report(News{Verdict: &v})
	}
}

// recovered reports that the hang is over and ends the alarm.
func (a *alarms) recovered(r detect.Recovery) {
	a.end(r.TimeNS)
	if a.report != nil {
		a.report(News{Recovered: &r})
	}
}

// end ends the active alarm, if there is one.
func (a *alarms) end(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.active {
		a.active = false
		last := &a.list[len(a.list)-1]
		last.EndNS = max(now, last.StartNS)
	}
}

// causedByMonitor reports whether the livelock just found was caused by the monitor.
// During an alarm one finding is not enough: when a real hang ends, as it does in
// every trial, the registers move again exactly as they do after leaving the view. A
// view at fault repeats it at once, so a second finding decides.
func (a *alarms) causedByMonitor() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	again := a.suspected
	a.suspected = a.active
	return !a.active || again
}

// all returns the alarms so far, in order.
func (a *alarms) all() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}
