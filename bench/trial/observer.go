package trial

import (
	"context"
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios/sign"
)

// Observer watches the guest of a trial and may report that the guest hangs. It is the
// only way in which a trial knows whoever watches: our own monitor, Linux's and Xen's
// watchdogs, or a program of somebody else (bench/observe has them all).
//
// A trial calls its methods from one goroutine, in the order Attach, Poll again and
// again, Detach. It may then attach the observer again. Reports and Guards may be
// called at any time after the first Attach, also after Detach.
//
// An *ObserverError says that the observer itself failed. An *InvalidError says that
// the guest did not do its part. Any other error is a failure of the host.
type Observer interface {
	// Name names the observer in records: one lower-case word.
	Name() string
	// Attach begins to watch. It returns when the observer is watching.
	Attach(ctx context.Context, s Subject) error
	// Poll takes in what the observer has said since the last call. It never waits. A
	// trial calls it every sign.Poll or so. t0 is when the fault landed, on the trial's
	// clock, and 0 before that.
	Poll(t0 int64) error
	// Reports are what the observer has reported since it was attached, in the order of
	// time. The last one may change later: its hang may end.
	Reports() []Report
	// Guards are the observer's detectors, whether they are armed, and when a report of
	// each was due.
	Guards() []Guard
	// Detach ends the watching and leaves the guest as it was.
	Detach(ctx context.Context) (Counts, error)
}

// Patient is an Observer that needs a fault to stay for some time.
type Patient interface {
	// Await returns until when the fault should stay in place for the observer to report
	// it, on the trial's clock. It may be in the past. The trial calls it once, at now.
	Await(now, t0 int64, e sign.Effects) (until int64)
	// Complete reports whether everything has been reported that Await waits for.
	Complete() bool
}

// Destroyer is an Observer that may destroy the guest when it finds it hung.
type Destroyer interface{ Destroyed() bool }

// Breaker is an Observer that can be broken on purpose: it then holds the guest up,
// until Mishandle is called with false.
type Breaker interface{ Mishandle(on bool) error }

// Ender is an Observer that ends its watching by itself when its guest is destroyed. Detach
// then returns an *ObserverError with Gone set.
type Ender interface{ Ended() bool }

// Explainer is an Observer that can say why it has not reported anything yet.
type Explainer interface{ Undecided() []string }

// Signaller is an Observer that counts signs of life of the guest. A guest that beats
// gives some. If the count is 0, the observer does not see the guest.
type Signaller interface{ Signals() uint64 }

// Subject is the guest that an observer is to watch, and how.
type Subject struct {
	Guest    Guest
	Clock    Clock
	Workload beat.Workload // that the guest runs
	Settings Settings
}

// Settings are how an observer is to watch.
type Settings struct {
	// Thresholds are those of our detectors that the suite sets, by name and in the unit
	// that the name says. The others have their defaults.
	Thresholds map[string]int64
	// Sample is how often the observer should look.
	Sample time.Duration
}

// Report is one thing that an observer has reported. Times are nanoseconds on the
// trial's clock.
type Report struct {
	Guard    string // the detector that reports: a name of Guards
	AtNS     int64  // when the hang was found
	SeenNS   int64  // when the observer learnt of the report
	EndNS    int64  // when the hang was found to be over, or 0
	Class    string // of the hang, as in spin; empty if the detector does not tell
	Scope    string // full, partial, or empty
	Evidence []string
	VCPU     int    // that hangs, or -1
	Task     string // that hangs, or empty
	Text     string // the report's own words, or empty
}

// Guard is one detector of an observer.
type Guard struct {
	Name  string
	Armed bool
	// ThresholdNS is the detector's threshold in nanoseconds, 0 without one.
	ThresholdNS int64
	// FromNS and ToNS are when it should report after a fault that it can see, in
	// nanoseconds from the fault; 0 without a prediction.
	FromNS, ToNS int64
}

// Counts are what an observer counted from Attach to Detach. Counters that it does not
// have are 0.
type Counts struct {
	Events results.Events
	// Accesses are the page accesses that were delivered to the observer, which the
	// hypervisor's trace counts too.
	Accesses uint64
	// BackedOut says why the observer released the guest by itself. It is empty if it
	// did not. BackOutNS is how long that took, in nanoseconds.
	BackedOut string
	BackOutNS int64
	// Neighbours are reports about other guests, which were healthy.
	Neighbours []Report
}

// ObserverError says that an observer failed. If its verdict ends the trial, the trial
// is invalid; otherwise the failure is recorded with what the observer reported.
type ObserverError struct {
	Reason string
	// Gone: the guest was being destroyed, and the observer has left it.
	Gone bool
}

func (e *ObserverError) Error() string { return e.Reason }

// Failed returns an ObserverError with that reason.
func Failed(format string, args ...any) error {
	return &ObserverError{Reason: fmt.Sprintf(format, args...)}
}

// InvalidError says why the ground truth of a trial was not confirmed. Reason is one
// clause.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// Invalid returns an InvalidError with that reason.
func Invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// reasons returns why a trial is invalid, if err consists of InvalidErrors alone,
// wrapped or joined. An interrupted trial and a failed host are no outcome of a trial,
// whatever else went wrong.
func reasons(err error) ([]string, bool) {
	switch e := err.(type) {
	case *InvalidError:
		return []string{e.Reason}, true
	case interface{ Unwrap() error }:
		if _, ok := reasons(e.Unwrap()); ok {
			return []string{err.Error()}, true
		}
	case interface{ Unwrap() []error }:
		var all []string
		for _, err := range e.Unwrap() {
			why, ok := reasons(err)
			if !ok {
				return nil, false
			}
			all = append(all, why...)
		}
		return all, len(all) > 0
	}
	return nil, false
}
