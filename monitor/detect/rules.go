package detect

import (
	"cmp"
	"slices"
)

// Thresholds are the limits of every rule, and those that the rules share. The
// file of a rule declares the rule's own.
type Thresholds struct {
	SpinThresholds
	HardThresholds
	SoftThresholds
	StoppedThresholds
	StarvationThresholds
	ForkstormThresholds
	ThrashThresholds
	TaskThresholds
	SharedThresholds
}

// entries returns every rule, the most severe first.
func (t *Thresholds) entries() []entry {
	list := []entry{
		panicEntry(),
		t.SpinThresholds.entry(),
		t.HardThresholds.entry(),
		t.SoftThresholds.entry(),
		t.StoppedThresholds.entry(),
		t.StarvationThresholds.entry(),
		t.ForkstormThresholds.entry(),
		t.ThrashThresholds.entry(),
		t.TaskThresholds.entry(),
	}
	slices.SortStableFunc(list, func(a, b entry) int { return cmp.Compare(b.severity(), a.severity()) })
	return list
}

// entry describes a rule to the rest of the package.
type entry struct {
	start   func() rule // makes the rule, with the thresholds that the entry was made of
	classes []class     // that the rule finds, the most severe first
	single  bool        // the rule can judge an observation without the one before
}

// class describes one class of hang that a rule finds.
type class struct {
	Info         // without Thresholds
	knobs []knob // thresholds of the class; rules of several classes may share some
	// needsKernel: the class cannot be found without Observation.Kernel.
	needsKernel bool
	// needsQueue: the class is hard to find without VCPU.Queue.
	needsQueue bool
}

func (e *entry) severity() int { return e.classes[0].Severity }

// rule finds hangs of one kind.
type rule interface {
	// restart forgets every observation. vcpus is the number of vCPUs from now on.
	restart(vcpus int)
	// observe takes the next observation. Once it returns hung, it does so until the
	// hang ends. It must not allocate.
	observe(s *step) level
	// verdict returns class, vCPUs, scope and evidence. It is called after observe has
	// returned hung for the same step.
	verdict(s *step) Verdict
	// notes appends what the rule has seen so far, for Detector.Undecided.
	notes(to []string) []string
}

// level is a rule's judgement of the observations so far.
type level int

const (
	blind    level = iota // it cannot tell: what it needs was not observed
	calm                  // no sign of a hang of its kind
	watching              // a sign, but not for long enough
	hung
)

// Info describes one class for people and for the analysis of results.
type Info struct {
	Class Class
	// Severity orders the classes, 1 to 100. If one observation shows several hangs,
	// the one of the highest severity is reported.
	Severity int
	// Waits is true if the sign of the hang is that something waits for long. A
	// healthy guest waits for seconds too, so such a verdict needs seconds.
	Waits      bool
	Reads      string      // what the rule reads of an observation
	Early      string      // the evidence on which it decides soon
	Late       string      // the silence on which it decides late; empty if it never does
	Thresholds []Threshold // the time of the early decision first
}

// Classes returns every class that a verdict can have: those of List and ClassMonitor. A
// class that the detector gives up stays here: records and streams have it.
func Classes() []Class {
	var all []Class
	for _, i := range List() {
		all = append(all, i.Class)
	}
	return append(all, ClassMonitor)
}

// List describes every class that an observation can show, the most severe first. The thresholds that the rules
// share are not in it; ListThresholds has all.
func List() []Info {
	t := DefaultThresholds()
	var list []Info
	for _, e := range t.entries() {
		for _, c := range e.classes {
			for _, k := range c.knobs {
				c.Info.Thresholds = append(c.Info.Thresholds, k.Threshold)
			}
			list = append(list, c.Info)
		}
	}
	return list
}
