package results

import (
	"fmt"
	"reflect"
	"slices"
)

// Finding is the report of one observer beside our monitor: a watchdog of Linux or Xen,
// or an external monitor. All times are nanoseconds of dom0's clock.
type Finding struct {
	// Observer names it: soft-lockup, hard-lockup, rcu-stall, hung-task,
	// workqueue, panic or xen of the watchdogs, or the name of an external monitor.
	Observer string `json:"observer"`
	// Armed is set if the observer was there and on. An observer that was not armed misses
	// nothing.
	Armed bool `json:"armed"`
	// WatchedNS is how long after the fault the observer was listened to; in a trial
	// without a fault, how long after it was armed. Without a report the observer is
	// right-censored there.
	WatchedNS int64 `json:"watched_ns"`
	// ThresholdNS is the observer's own threshold; 0 if it has none.
	ThresholdNS int64 `json:"threshold_ns,omitempty"`
	// FromNS and ToNS are when a report was due after a fault that the observer can see,
	// from its threshold and its source; 0 without a prediction.
	FromNS int64 `json:"from_ns,omitempty"`
	ToNS   int64 `json:"to_ns,omitempty"`

	// AtNS is the time from the fault to the first report. It is absent without one.
	AtNS *int64 `json:"at_ns,omitempty"`
	// Reports are how many reports followed the fault.
	Reports int `json:"reports,omitempty"`
	// FalseAlarms are how many reports there were without a fault or before it.
	FalseAlarms int `json:"false_alarms,omitempty"`
	// Class, Scope, VCPU, Task and Evidence are those of the first report, as far as the
	// observer tells them. It may have the number of a vCPU from a guest that lies.
	Class    string   `json:"class,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	VCPU     *int     `json:"vcpu,omitempty"`
	Task     string   `json:"task,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	// Failed says why the observer failed. It is absent if it did not.
	Failed string `json:"failed,omitempty"`
}

// LinuxWatchdogs returns the names of the observers that are watchdogs of the guest's own
// kernel. That a kernel panics is no report of a watchdog.
func LinuxWatchdogs() []string {
	return []string{"soft-lockup", "hard-lockup", "rcu-stall", "hung-task", "workqueue"}
}

// Finding returns what the observer found; nil if it did not watch.
func (t *Trial) Finding(observer string) *Finding {
	for i := range t.Findings {
		if t.Findings[i].Observer == observer {
			return &t.Findings[i]
		}
	}
	return nil
}

func validFindings(all []Finding) error {
	if len(all) > mostAlarms {
		return fmt.Errorf("%d findings, more than %d", len(all), mostAlarms)
	}
	seen := make(map[string]bool)
	for i := range all {
		f := &all[i]
		if err := inRange(reflect.ValueOf(f).Elem(), ""); err != nil {
			return fmt.Errorf("observer %s: %w", f.Observer, err)
		}
		switch {
		case f.Observer == "":
			return fmt.Errorf("finding %d has no observer", i)
		case seen[f.Observer]:
			return fmt.Errorf("two findings of observer %s", f.Observer)
		case !slices.Contains(scopes(), f.Scope):
			return fmt.Errorf("observer %s: scope %q is none of %q", f.Observer, f.Scope, scopes())
		case f.ToNS < f.FromNS:
			return fmt.Errorf("observer %s: predicted from %d to %d ns", f.Observer, f.FromNS, f.ToNS)
		case (f.AtNS != nil) != (f.Reports > 0):
			return fmt.Errorf("observer %s: at_ns and %d reports contradict each other", f.Observer, f.Reports)
		case f.AtNS != nil && !f.Armed:
			return fmt.Errorf("observer %s: reported, and not armed", f.Observer)
		}
		seen[f.Observer] = true
	}
	return nil
}
