package results

import (
	"errors"
	"fmt"
	"slices"
)

// ErrSchema marks a record or manifest written by another version of the
// program. It is reported, never guessed at.
var ErrSchema = errors.New("unknown schema")

func schemaError(got, want int) error {
	return fmt.Errorf("%w %d, this program reads %d: use the hangbench that wrote the run", ErrSchema, got, want)
}

// Validate returns an error if the record contradicts itself. It checks the schema, the
// outcome, the kind, and the fields that the outcome implies. The store refuses a record
// that fails, and the reader reports one.
func (t *Trial) Validate() error {
	if t.Schema != Schema {
		return schemaError(t.Schema, Schema)
	}
	if t.Trial < 0 {
		return fmt.Errorf("trial index %d is negative", t.Trial)
	}
	switch {
	case t.WindowNS < 0:
		return fmt.Errorf("trial %d: window_ns %d is negative", t.Trial, t.WindowNS)
	case t.DeadlineNS < 0:
		return fmt.Errorf("trial %d: deadline_ns %d is negative", t.Trial, t.DeadlineNS)
	case t.Guest.ProgressRatio != nil && !(*t.Guest.ProgressRatio >= 0):
		return fmt.Errorf("trial %d: progress_ratio %g is negative", t.Trial, *t.Guest.ProgressRatio)
	}
	if !slices.Contains([]Kind{Fault, Control, Measured}, t.Kind) {
		return fmt.Errorf("trial %d: kind %q is none of fault, control, workload", t.Trial, t.Kind)
	}
	if err := t.Thresholds.validate(); err != nil {
		return fmt.Errorf("trial %d: %w", t.Trial, err)
	}
	switch t.Outcome {
	case Detected:
		if t.DetectNS == nil {
			return fmt.Errorf("trial %d: outcome detected without detect_ns", t.Trial)
		}
		if *t.DetectNS < 0 {
			return fmt.Errorf("trial %d: detected %d ns before the fault, which is a false alarm", t.Trial, -*t.DetectNS)
		}
	case Invalid:
		if t.Reason == "" {
			return fmt.Errorf("trial %d: outcome invalid without a reason", t.Trial)
		}
	case Undone:
		if t.UndoneNS == nil || t.ResumedNS == nil {
			return fmt.Errorf("trial %d: outcome undone without undone_ns and resumed_ns", t.Trial)
		}
	case Missed, FalseAlarm, Clean:
	default:
		return fmt.Errorf("trial %d: outcome %q is none of detected, missed, false_alarm, undone, clean, invalid",
			t.Trial, t.Outcome)
	}
	last := int64(0)
	for i, a := range t.Alarms {
		if a.StartNS < last || a.ends() < a.StartNS {
			return fmt.Errorf("trial %d: alarm %d is out of order", t.Trial, i)
		}
		last = a.ends()
	}
	for i, a := range t.NeighbourAlarms { // of several neighbours, one after the other
		if a.StartNS < 0 || a.ends() < a.StartNS {
			return fmt.Errorf("trial %d: a neighbour's alarm %d ends before it begins, or begins before the window", t.Trial, i)
		}
	}
	if t.Neighbours < 0 || t.Neighbours == 0 && len(t.NeighbourAlarms) > 0 {
		return fmt.Errorf("trial %d: %d alarms about %d neighbours", t.Trial, len(t.NeighbourAlarms), t.Neighbours)
	}
	if t.AllClearNS != nil && *t.AllClearNS < 0 {
		return fmt.Errorf("trial %d: all_clear_ns %d is negative", t.Trial, *t.AllClearNS)
	}
	if t.Workload != nil {
		if err := t.Workload.validate(t.Outcome); err != nil {
			return fmt.Errorf("trial %d: %w", t.Trial, err)
		}
	}
	if err := validFindings(t.Findings); err != nil {
		return fmt.Errorf("trial %d: %w", t.Trial, err)
	}
	if clean := CleanConsole([]byte(t.Console)); clean != t.Console {
		return fmt.Errorf("trial %d: the console of %d bytes is too long, or has bytes that are no text", t.Trial,
			len(t.Console))
	}
	e := t.EPT
	if sum := e.Permission + e.Lazy + e.MMIO + e.Superpage + e.Suppressed + e.Residual; e.Total != sum {
		return fmt.Errorf("trial %d: ept.total is %d, its classes add up to %d", t.Trial, e.Total, sum)
	}
	return nil
}

// ends is when the alarm was over; for one that was not, when it began.
func (a *Alarm) ends() int64 {
	if a.EndNS == nil {
		return a.StartNS
	}
	return *a.EndNS
}
