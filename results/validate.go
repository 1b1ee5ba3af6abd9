package results

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ErrSchema marks a record or manifest written by another version of the
// program. It is reported, never guessed at.
var ErrSchema = errors.New("unknown schema")

func schemaError(got, want int) error {
	return fmt.Errorf("%w %d, this program reads %d: use the hangbench that wrote the run", ErrSchema, got, want)
}

const (
	// most is the largest time in nanoseconds (52 days) and the largest count of a record.
	// A float64 holds it exactly, and sums of 2,000 trials fit an int64.
	most = 1 << 52
	// mostAlarms is the largest number of alarms and of observers of a trial.
	mostAlarms = 2000
)

// Validate returns an error if the record cannot be: a number is outside its range, or
// two facts contradict each other. The store refuses a record that fails, and the reader
// reports one.
func (t *Trial) Validate() error {
	if t.Schema != Schema {
		return schemaError(t.Schema, Schema)
	}
	if t.Trial < 0 {
		return fmt.Errorf("trial index %d is negative", t.Trial)
	}
	if err := t.valid(); err != nil {
		return fmt.Errorf("trial %d: %w", t.Trial, err)
	}
	return nil
}

func (t *Trial) valid() error {
	if err := inRange(reflect.ValueOf(t).Elem(), ""); err != nil {
		return err
	}
	for _, w := range trialWords {
		if is := w.of(t); !slices.Contains(w.valid, is) {
			return fmt.Errorf("%s %q is none of %q", w.name, is, w.valid)
		}
	}
	if err := errors.Join(t.Thresholds.validate(), t.Declared.validate()); err != nil {
		return err
	}
	for _, r := range trialRules {
		if r.broken(t) {
			return errors.New(r.says)
		}
	}
	if err := validAlarms(t); err != nil {
		return err
	}
	if t.Workload != nil {
		if err := t.Workload.validate(t.Outcome); err != nil {
			return err
		}
	}
	if t.Effect != nil {
		if err := t.Effect.validate(); err != nil {
			return err
		}
	}
	if err := validFindings(t.Findings); err != nil {
		return err
	}
	if clean := CleanConsole([]byte(t.Console)); clean != t.Console {
		return fmt.Errorf("the console of %d bytes is too long, or has bytes that are no text", len(t.Console))
	}
	e := t.EPT
	if sum := e.Permission + e.Lazy + e.MMIO + e.Superpage + e.Suppressed + e.Residual; e.Total != sum {
		return fmt.Errorf("ept.total is %d, its classes add up to %d", e.Total, sum)
	}
	return nil
}

// inRange returns an error for the first number of a struct that is outside its range,
// which is 0 to most. The tags min and max of a field say otherwise; max is "any" if
// every value is possible. Both ends are included. Lists are left out: the caller looks
// at their elements. prefix stands before the names, which are those in JSON.
func inRange(of reflect.Value, prefix string) error {
	for i := range of.NumField() {
		field, v := of.Type().Field(i), of.Field(i)
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				continue
			}
			v = v.Elem()
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		name = prefix + name
		var x float64 // exact up to most, and above it far outside every range
		switch {
		case v.Kind() == reflect.Struct && field.Anonymous:
			if err := inRange(v, prefix); err != nil {
				return err
			}
			continue
		case v.Kind() == reflect.Struct:
			if err := inRange(v, name+"."); err != nil {
				return err
			}
			continue
		case v.CanInt():
			x = float64(v.Int())
		case v.CanUint():
			x = float64(v.Uint())
		case v.CanFloat():
			x = v.Float()
		default:
			continue
		}
		if field.Tag.Get("max") == "any" {
			continue
		}
		low, err := limit(field.Tag.Get("min"), 0)
		if err != nil {
			return fmt.Errorf("%s: tag min: %w", name, err)
		}
		high, err := limit(field.Tag.Get("max"), most)
		if err != nil {
			return fmt.Errorf("%s: tag max: %w", name, err)
		}
		if !(x >= float64(low) && x <= float64(high)) {
			return fmt.Errorf("%s %v is not within %d to %d", name, v, low, high)
		}
	}
	return nil
}

// limit is the limit in a tag, or another one without a tag.
func limit(tag string, other int64) (int64, error) {
	if tag == "" {
		return other, nil
	}
	return strconv.ParseInt(tag, 10, 64)
}

// scopes are how much of a guest hangs; empty if nobody says.
func scopes() []string { return []string{"", "full", "partial"} }

// trialWords are the words of a record that are one of a few.
var trialWords = []struct {
	name  string
	valid []string
	of    func(*Trial) string
}{
	{"host", HostKinds(), func(t *Trial) string { return t.Host }},
	{"kind", []string{string(Fault), string(Control), string(Measured), string(Unknown)},
		func(t *Trial) string { return string(t.Kind) }},
	{"outcome", []string{string(Detected), string(Missed), string(FalseAlarm), string(Undone), string(Clean),
		string(Invalid)}, func(t *Trial) string { return string(t.Outcome) }},
	{"scope", scopes(), func(t *Trial) string { return t.Scope }},
	{"guest_type", []string{"", "hvm"}, func(t *Trial) string { return t.Type }},
	{"guest_boot", []string{"", "distro"}, func(t *Trial) string { return t.Boot }},
}

// trialRules are the contradictions between two facts of a record.
var trialRules = []struct {
	says   string
	broken func(*Trial) bool
}{
	{"a record without suite", func(t *Trial) bool { return t.Suite == "" }},
	{"a record without scenario, mechanism or driver",
		func(t *Trial) bool { return t.Scenario == "" || t.Mechanism == "" || t.Driver == "" }},
	{"a valid trial without guest_kernel", func(t *Trial) bool { return t.confirmed() && t.GuestKernel == "" }},
	{"a valid trial whose window_ns is 0", func(t *Trial) bool { return t.confirmed() && t.WindowNS == 0 }},
	{"guest_type hvm without guest_boot distro", func(t *Trial) bool { return t.Type != "" && t.Boot == "" }},
	{"outcome invalid without a reason", func(t *Trial) bool { return !t.confirmed() && t.Reason == "" }},
	{"a reason without outcome invalid", func(t *Trial) bool { return t.confirmed() && t.Reason != "" }},

	{"a fault without deadline_ns", func(t *Trial) bool { return t.injects() && t.confirmed() && t.DeadlineNS == 0 }},
	{"a fault without expected_class",
		func(t *Trial) bool { return t.Kind == Fault && t.confirmed() && t.Expected == "" }},
	{"a trial without a fault, with deadline_ns, expected_class, hang_ns, recovered or bounded_ms", func(t *Trial) bool {
		return !t.injects() && (t.DeadlineNS > 0 || t.Expected != "" || t.HangNS != nil || t.Recovered != nil ||
			t.BoundedMS > 0)
	}},
	{"a fault of unknown effect with expected_class or bounded_ms",
		func(t *Trial) bool { return t.Kind == Unknown && (t.Expected != "" || t.BoundedMS > 0) }},
	{"effect of a trial whose fault has a known effect, or none",
		func(t *Trial) bool { return t.Kind != Unknown && t.Effect != nil }},
	{"a fault of unknown effect without effect, and no false alarm before it", func(t *Trial) bool {
		return t.Kind == Unknown && t.Effect == nil && t.confirmed() && t.Outcome != FalseAlarm
	}},
	{"outcome detected or missed of a guest that did not hang, or clean of one that did", func(t *Trial) bool {
		return t.Effect != nil && t.confirmed() && (t.Outcome == Detected || t.Outcome == Missed) != t.Effect.Hung() &&
			t.Outcome != FalseAlarm
	}},
	{"outcome clean of a fault", func(t *Trial) bool { return t.Outcome == Clean && t.Kind == Fault }},
	{"outcome detected, missed or undone without a fault",
		func(t *Trial) bool {
			return !t.injects() && (t.Outcome == Detected || t.Outcome == Missed || t.Outcome == Undone)
		}},

	{"outcome detected without detect_ns", func(t *Trial) bool { return t.Outcome == Detected && t.DetectNS == nil }},
	{"detect_ns without outcome detected", func(t *Trial) bool { return t.Outcome != Detected && t.DetectNS != nil }},
	{"a class or scope without a verdict", func(t *Trial) bool {
		return (t.Class != "" || t.Scope != "") && (t.Outcome == Missed || t.Outcome == Undone || t.Outcome == Clean)
	}},
	{"detect_ns is after deadline_ns",
		func(t *Trial) bool { return t.BoundedMS == 0 && t.DetectNS != nil && *t.DetectNS > t.DeadlineNS }},
	{"detect_ns is after resumed_ns: the verdict is a false alarm",
		func(t *Trial) bool { return t.DetectNS != nil && t.ResumedNS != nil && *t.DetectNS > *t.ResumedNS }},

	{"deadline_ns of a bounded fault is not bounded_ms",
		func(t *Trial) bool { return t.BoundedMS > 0 && t.DeadlineNS > 0 && t.DeadlineNS != t.BoundedMS*1e6 }},
	{"outcome undone of a fault that is not bounded",
		func(t *Trial) bool { return t.Outcome == Undone && t.BoundedMS == 0 }},
	{"outcome undone without undone_ns and resumed_ns",
		func(t *Trial) bool { return t.Outcome == Undone && (t.UndoneNS == nil || t.ResumedNS == nil) }},
	{"undone_ns is before the end of the bounded fault",
		func(t *Trial) bool { return t.UndoneNS != nil && *t.UndoneNS < t.BoundedMS*1e6 }},
	{"resumed_ns is before undone_ns",
		func(t *Trial) bool { return t.ResumedNS != nil && (t.UndoneNS == nil || *t.ResumedNS < *t.UndoneNS) }},
	{"detect_ns, hang_ns, undone_ns or resumed_ns is longer than window_ns, in which the fault lies", func(t *Trial) bool {
		return t.confirmed() && slices.ContainsFunc([]*int64{t.DetectNS, t.HangNS, t.UndoneNS, t.ResumedNS},
			func(ns *int64) bool { return ns != nil && *ns > t.WindowNS })
	}},

	{"back_out_ns without backed_out", func(t *Trial) bool { return t.BackOutNS != nil && t.BackedOut == "" }},
	{"CPU time of dom0 without paired_ns", func(t *Trial) bool {
		return t.Guest.PairedNS == 0 && (t.Guest.Dom0BeforeNS > 0 || t.Guest.Dom0DuringNS > 0)
	}},
	{"silent_vcpus are not vCPUs of the guest in ascending order", func(t *Trial) bool {
		last := -1
		for _, v := range t.Guest.SilentVCPUs {
			if v <= last || v >= t.VCPUs {
				return true
			}
			last = v
		}
		return false
	}},
	{"a workload in a trial that measures none", func(t *Trial) bool { return t.Workload != nil && t.Kind != Measured }},
	{"a clean trial that measures a workload, without the workload",
		func(t *Trial) bool { return t.Workload == nil && t.Kind == Measured && t.Outcome == Clean }},
}

// injects reports whether the trial injects a fault.
func (t *Trial) injects() bool { return t.Kind == Fault || t.Kind == Unknown }

// confirmed reports whether the ground truth was confirmed: the trial enters measures.
func (t *Trial) confirmed() bool { return t.Outcome != Invalid }

// validAlarms returns an error for alarms that cannot have been in the monitored window.
func validAlarms(t *Trial) error {
	if len(t.Alarms) > mostAlarms || len(t.NeighbourAlarms) > mostAlarms {
		return fmt.Errorf("%d alarms, and %d about neighbours: more than %d", len(t.Alarms), len(t.NeighbourAlarms),
			mostAlarms)
	}
	last := int64(0)
	for i := range t.Alarms {
		a := &t.Alarms[i]
		if err := inRange(reflect.ValueOf(a).Elem(), ""); err != nil {
			return fmt.Errorf("alarm %d: %w", i, err)
		}
		if a.StartNS < last || a.ends() < a.StartNS {
			return fmt.Errorf("alarm %d is out of order", i)
		}
		last = a.ends()
	}
	if t.confirmed() && last > t.WindowNS {
		return fmt.Errorf("an alarm at %d ns is after the monitored window of %d ns", last, t.WindowNS)
	}
	for i := range t.NeighbourAlarms { // of several neighbours, one after the other
		a := &t.NeighbourAlarms[i]
		if err := inRange(reflect.ValueOf(a).Elem(), ""); err != nil {
			return fmt.Errorf("a neighbour's alarm %d: %w", i, err)
		}
		if a.ends() < a.StartNS {
			return fmt.Errorf("a neighbour's alarm %d ends before it begins", i)
		}
	}
	if t.Neighbours == 0 && len(t.NeighbourAlarms) > 0 {
		return fmt.Errorf("%d alarms about 0 neighbours", len(t.NeighbourAlarms))
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
