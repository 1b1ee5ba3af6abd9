package suites

import (
	"fmt"
	"slices"
	"strings"

	"hangbench/scenarios"
	"hangbench/scenarios/sites"
)

// Section is a part of a suite that has keys of its own.
type Section string

const (
	Whole      Section = "suite"
	OfGuest    Section = "guest"    // an item of guests
	OfTiming   Section = "timing"   // milliseconds of dom0's clock
	OfSweep    Section = "sweep"    // an item of sweep
	OfObserver Section = "observer" // an item of observers
	OfFault    Section = "fault"    // an item of faults
	OfCampaign Section = "campaign" // faults that are drawn
)

// title is what messages call the section.
func (s Section) title() string {
	switch s {
	case Whole:
		return "the suite"
	case OfGuest:
		return "a guest"
	case OfSweep:
		return "a sweep"
	case OfObserver:
		return "an observer"
	case OfFault:
		return "a fault"
	case OfCampaign:
		return "a campaign"
	}
	return string(s)
}

// Key is a key of a suite: what may be written, and what it means. The parser takes
// names, ranges and whether a key is required from here.
type Key struct {
	Section  Section `json:"section"`
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Required bool    `json:"required,omitempty"`
	// Default says what holds without the key. It is empty if the key is required.
	Default string `json:"default,omitempty"`
	// Min and Max are the range of a whole number, both ends included. They are 0 for
	// other types.
	Min     int64  `json:"min,omitempty"`
	Max     int64  `json:"max,omitempty"`
	Meaning string `json:"meaning"`
	Example string `json:"example"` // a value, as it is written in a suite

	// field returns where a guest has the value: a *string, *int or *bool. It is nil for
	// keys of other sections.
	field func(*Guest) any
	// values returns the words that the value may be. It is nil if that is any word.
	values func(*Vocabulary) []string
	// file begins a value that names a file and is permitted beside them. It is empty if
	// there is none.
	file string
}

// Types of values.
const (
	word    = "word"
	text    = "text"
	number  = "whole number"
	truth   = "true or false"
	words   = "list of words"
	numbers = "list of whole numbers"
	mapping = "key: value lines"
	list    = "list of key: value lines"
)

// Range is the range of a whole number as text, and empty for other types.
func (k Key) Range() string {
	if k.Max == 0 {
		return ""
	}
	return fmt.Sprintf("%d to %d", k.Min, k.Max)
}

// Keys returns every key of a suite, in the order in which suites are written. The
// keys of thresholds are the detectors' and are not among them: see "hangbench list
// detectors".
func Keys() []Key { return append(keys(), faultKeys()...) }

// faultKeys returns the keys of a fault.
func faultKeys() []Key {
	all := []Key{
		{Section: OfFault, Name: "name", Type: word, Required: true,
			Meaning: "name of the scenario: up to 100 lower-case letters, digits and single dashes", Example: "inode-hash"},
		{Section: OfFault, Name: "work", Type: word, Required: true,
			Meaning: "what the guest does from before the fault until after it; a list: several works at a time",
			Example: "inodes"},
		{Section: OfFault, Name: "exec", Type: words, Default: "none",
			Meaning: "program of the guest that the work exec runs again and again, and its arguments",
			Example: "[/usr/bin/stress-ng, --fork, 1, --timeout, 1]"},
		{Section: OfFault, Name: "class", Type: word, Required: true,
			Meaning: "class of the right verdict; " + scenarios.NoHang + ": nothing hangs, and the guest is disturbed for " +
				"some seconds", Example: "spin"},
		{Section: OfFault, Name: "final", Type: truth, Default: "false",
			Meaning: "the fault cannot be removed, or the guest does not go on after it", Example: "true"},
		{Section: OfFault, Name: "seconds", Type: number, Default: "10", Min: 1, Max: scenarios.MostSeconds,
			Meaning: "how long a guest is disturbed, of class " + scenarios.NoHang, Example: "60"},
	}
	for _, p := range scenarios.Primitives() {
		names := make([]string, len(p.Args))
		for i, a := range p.Args {
			names[i] = a.Name
		}
		form := "{" + strings.Join(names, ", ") + "}"
		if last := &all[len(all)-1]; last.Name == p.Do { // another form of it
			if !strings.Contains(last.Meaning, form) {
				last.Meaning += " or " + form
			}
			continue
		}
		all = append(all, Key{Section: OfFault, Name: p.Do, Type: mapping, Default: "none",
			Meaning: "what is done to the guest, one of all that list faults prints: " + form, Example: p.Example()})
	}
	return all
}

// keys returns the keys of all sections but that of a fault.
func keys() []Key {
	d := DefaultTiming()
	ms := func(name string, def, min, max int64, meaning string) Key {
		return Key{Section: OfTiming, Name: name, Type: number, Default: fmt.Sprint(def), Min: min, Max: max,
			Meaning: meaning, Example: fmt.Sprint(def)}
	}
	return []Key{
		{Section: Whole, Name: "name", Type: word, Required: true,
			Meaning: "name of the suite: up to 100 lower-case letters, digits and single dashes", Example: "my-suite"},
		{Section: Whole, Name: "description", Type: text, Default: "none",
			Meaning: "one sentence for people", Example: `"one deadlock, with and without altp2m"`},
		{Section: Whole, Name: "scenarios", Type: words, Required: true,
			Meaning: "scenarios to try; " + AllFaults + " and " + AllControls + " stand for all others of their kind " +
				"that the suite's guests can have, without the monitor's own fault, and " + AllDeclared +
				" for all other faults that the suite declares", Example: "[spinlock-deadlock, control-idle]"},
		{Section: Whole, Name: "faults", Type: list, Default: "none",
			Meaning: "faults that the suite declares; scenarios must name each (hangbench list faults)",
			Example: "[{name: inode-hash, hold: {spinlock: inode_hash_lock}, work: inodes, class: spin}]"},
		{Section: Whole, Name: "campaign", Type: mapping, Default: "none",
			Meaning: "faults that are drawn from the places of the guests' kernel, of class " + scenarios.NotKnown +
				"; scenarios must name each, as " + AllDeclared + " does", Example: "{sites: 200, kinds: [hold, loop]}"},
		{Section: Whole, Name: "mechanisms", Type: words, Required: true,
			Meaning: "mechanisms of the monitor; " + AllMechanisms + " stands for all others that attach a monitor; " +
				"the name of an observer stands for that observer in place of the monitor",
			Example: "[none, exec-altp2m]"},
		{Section: Whole, Name: "drivers", Type: words, Default: defaultDriver,
			Meaning: "libraries that the monitor watches through", Example: "[xenctrl]"},
		{Section: Whole, Name: "guests", Type: list, Required: true,
			Meaning: "guests to try each scenario in", Example: "[{kernel: cloud-6.12, vcpus: 1, memory_mib: 256}]"},
		{Section: Whole, Name: "repetitions", Type: number, Required: true, Min: 1, Max: 1000,
			Meaning: "how often each combination is tried", Example: "6"},
		{Section: Whole, Name: "bounded_ms", Type: numbers, Default: "none", Min: 100, Max: 600_000,
			Meaning: "remove each fault after so many milliseconds; 0 beside other values: at the verdict or the deadline",
			Example: "[500, 8000]"},
		{Section: Whole, Name: "timing", Type: mapping, Default: "see section timing",
			Meaning: "time plan of a trial", Example: "{baseline_ms: 2000, observe_ms: 2500}"},
		{Section: Whole, Name: "thresholds", Type: mapping, Default: "the detectors' own",
			Meaning: "thresholds of the detectors, by name (hangbench list detectors)", Example: "{spin_ms: 50}"},
		{Section: Whole, Name: "sweep", Type: list, Default: "none",
			Meaning: "thresholds that are varied, one at a time",
			Example: "[{threshold: soft_ms, values: [500, 2500]}]"},
		{Section: Whole, Name: "baselines", Type: word + " or " + truth, Default: "false",
			Meaning: "record what the watchdogs of Linux (default, minimum) and Xen (xen) report; true is default; " +
				"a fault then stays until they have had their time", Example: "default"},
		{Section: Whole, Name: "observers", Type: list, Default: "none",
			Meaning: "programs in dom0 that watch the guest beside the monitor; one that mechanisms names watches in its place",
			Example: "[{name: probe, command: [/usr/bin/probe, --domain, \"{domid}\"]}]"},

		{Section: OfGuest, Name: "kernel", Type: word, Required: true,
			field: func(g *Guest) any { return &g.Kernel }, values: func(v *Vocabulary) []string { return v.Kernels },
			file: KernelFile,
			Meaning: "name of a guest kernel; or " + KernelFile + " and the path, from the current folder, of a vmlinuz, a " +
				"vmlinux or a Debian package with one, and behind a comma that of a folder or package with its modules, " +
				"if it needs others",
			Example: "cloud-6.12"},
		{Section: OfGuest, Name: "vcpus", Type: number, Required: true, Min: 1, Max: 8,
			field:   func(g *Guest) any { return &g.VCPUs },
			Meaning: "number of vCPUs", Example: "1"},
		{Section: OfGuest, Name: "memory_mib", Type: number, Required: true, Min: 128, Max: 4096,
			field:   func(g *Guest) any { return &g.MemoryMiB },
			Meaning: "memory in MiB; a guest with programs needs 256", Example: "256"},
		{Section: OfGuest, Name: "type", Type: word, Default: PVH,
			field: func(g *Guest) any { return &g.Type }, values: func(*Vocabulary) []string { return []string{PVH, HVM} },
			Meaning: "pvh: Xen starts the kernel; hvm: a BIOS and a boot loader start it from a disc",
			Example: HVM},
		{Section: OfGuest, Name: "boot", Type: word, Default: Plain + "; of type hvm always " + Distro,
			field: func(g *Guest) any { return &g.Boot }, values: func(*Vocabulary) []string { return []string{Plain, Distro} },
			Meaning: "plain: nokaslr mitigations=off; distro: with KASLR and the kernel's own mitigations", Example: Distro},
		{Section: OfGuest, Name: "superpages", Type: truth, Default: "false",
			field:   func(g *Guest) any { return &g.Superpages },
			Meaning: "the hypervisor gives the guest large pages", Example: "true"},
		{Section: OfGuest, Name: "neighbours", Type: number, Default: "0", Max: 3,
			field:   func(g *Guest) any { return &g.Neighbours },
			Meaning: "how many more guests of this kind are up, idle and monitored beside it", Example: "1"},
		{Section: OfGuest, Name: "programs", Type: word, Default: "none",
			field: func(g *Guest) any { return &g.Programs }, values: func(v *Vocabulary) []string { return v.Programs },
			Meaning: "set of programs in the guest's initramfs", Example: "stress-ng"},
		{Section: OfGuest, Name: "xen", Type: word, Default: "the host's own",
			field: func(g *Guest) any { return &g.XenRelease }, values: func(v *Vocabulary) []string { return v.Xens },
			Meaning: "release of Xen that the guest runs on, in quotes; the lab has several, a real host has one",
			Example: `"4.17"`},

		ms("baseline_ms", d.BaselineMS, 400, 60_000,
			"length of the window before the monitor attaches, and of its pair after"),
		ms("observe_ms", d.ObserveMS, 400, 600_000,
			"how long the monitor watches before the fault, or a control in all; at least baseline_ms"),
		ms("deadline_ms", d.DeadlineMS, 1500, 600_000,
			"time after the fault at which a trial without a verdict is a miss"),
		ms("recovery_ms", d.RecoveryMS, 100, 600_000,
			"how long the guest may take to go on after the fault is removed or the monitor detached"),
		ms("sample_ms", d.SampleMS, 1, 1000,
			"period at which the detector samples the guest; at most baseline_ms"),

		{Section: OfSweep, Name: "threshold", Type: word, Required: true,
			Meaning: "threshold that is varied", Example: "soft_ms"},
		{Section: OfSweep, Name: "values", Type: numbers, Required: true,
			Meaning: "two or more values, each tried on its own", Example: "[500, 2500]"},
		{Section: OfSweep, Name: "scenarios", Type: words, Default: "all of the suite",
			Meaning: "scenarios that are tried with every value", Example: "[spinlock-deadlock, control-idle]"},
		{Section: OfSweep, Name: "thresholds", Type: mapping, Default: "none",
			Meaning: "other thresholds that are set beside it", Example: "{spin_ms: 9}"},

		{Section: OfCampaign, Name: "sites", Type: number, Required: true, Min: 1, Max: mostDrawn,
			Meaning: "how many places are drawn; each gets one fault and one work that reaches it", Example: "200"},
		{Section: OfCampaign, Name: "draw", Type: number, Default: "1", Min: 0, Max: 1_000_000,
			Meaning: "number of the draw: equal numbers draw equal faults", Example: "2"},
		{Section: OfCampaign, Name: "half", Type: word, Default: sites.Tune,
			Meaning: "half of the places: tune may be looked at, test is run once", Example: sites.Test},
		{Section: OfCampaign, Name: "kinds", Type: words, Default: "all",
			Meaning: "kinds of faults, which take turns: " + faultKinds(), Example: "[hold, loop]"},
		{Section: OfCampaign, Name: "works", Type: words, Default: "all that were recorded",
			Meaning: "what the guest may do from before the fault until after it", Example: "[idle, opens]"},

		{Section: OfObserver, Name: "name", Type: word, Required: true,
			Meaning: "name of the observer in records: up to 100 lower-case letters, digits and single dashes",
			Example: "probe"},
		{Section: OfObserver, Name: "command", Type: words, Required: true,
			Meaning: "program with its arguments; {domain} and {domid} stand for the guest's name and number",
			Example: "[/usr/bin/probe, --domain, \"{domid}\"]"},
	}
}

// faultKinds says what kinds of faults a campaign draws.
func faultKinds() string {
	var all []string
	for _, f := range sites.Faults() {
		all = append(all, fmt.Sprintf("%s (%s)", f.Name, f.Meaning))
	}
	return strings.Join(all, ", ")
}

// keysOf returns the keys of a section.
func keysOf(s Section) []Key {
	if s == OfFault {
		return faultKeys()
	}
	return slices.DeleteFunc(keys(), func(k Key) bool { return k.Section != s })
}

// findKey returns the key of a section. It must exist.
func findKey(s Section, name string) Key {
	keys := keysOf(s)
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		panic(fmt.Sprintf("suites: there is no key %s of %s", name, s))
	}
	return keys[i]
}
