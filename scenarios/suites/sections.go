package suites

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"hangbench/results"
	"hangbench/results/printable"
)

var namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// mostName is the largest length of a name. The names of a run's folder and of its files
// are made from it, and a file system takes 255 bytes.
const mostName = 100

// name reads a name of the suite's own.
func (p *parser) name(n *yaml.Node, to *string, example string) {
	switch {
	case !p.text(n, "name", to):
	case !namePattern.MatchString(*to):
		p.errorf(n, "name %q: use lower-case letters, digits and single dashes, as in %s", clip(*to), example)
	case len(*to) > mostName:
		p.errorf(n, "name %q has %d characters: use at most %d", clip(*to), len(*to), mostName)
	}
}

// suite reads a whole suite. Keys whose meaning depends on others are read when all
// keys are known.
func (p *parser) suite(n *yaml.Node, s *Suite) {
	var faults, campaign, scenarios, mechanisms, bounded, sweep *yaml.Node
	later := func(to **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *to = n } }
	p.section(n, Whole, readers{
		"name": func(n *yaml.Node) { p.name(n, &s.Name, "hang-latency") },
		"description": func(n *yaml.Node) {
			if p.text(n, "description", &s.Description) && printable.Text(s.Description) != s.Description {
				p.errorf(n, "description is %s: it has a character that is not printable: remove it", describe(n))
			}
		},
		"scenarios":   later(&scenarios),
		"mechanisms":  later(&mechanisms),
		"drivers":     func(n *yaml.Node) { s.Drivers = p.names(n, "driver", p.v.Drivers) },
		"guests":      func(n *yaml.Node) { s.Guests = p.guests(n) },
		"repetitions": func(n *yaml.Node) { s.Repetitions = int(p.number(n, Whole, "repetitions")) },
		"bounded_ms": func(n *yaml.Node) {
			bounded = n
			s.BoundedMS = p.lengths(n)
		},
		"timing":     func(n *yaml.Node) { p.timing(n, &s.Timing) },
		"thresholds": func(n *yaml.Node) { s.Thresholds = p.thresholds(n) },
		"sweep":      later(&sweep),
		"faults":     later(&faults),
		"campaign":   later(&campaign),
		"baselines":  func(n *yaml.Node) { p.baselines(n, &s.Baselines) },
		"observers":  func(n *yaml.Node) { s.Observers = p.observers(n) },
	})
	var declared map[string]*yaml.Node
	if faults != nil { // before all that may name them
		declared = p.faults(faults, s)
	}
	var drawn []string
	if campaign != nil {
		drawn = p.campaign(campaign, s)
	}
	if mechanisms != nil {
		s.Mechanisms = p.mechanisms(mechanisms, s)
	}
	if scenarios != nil {
		s.Scenarios = p.scenarios(scenarios, s, bounded != nil)
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if len(s.Scenarios) > 0 && !slices.Contains(s.Scenarios, name) {
			p.errorf(declared[name],
				"fault %q is not among the suite's scenarios and would not be tried: add it there or remove it", name)
		}
	}
	if slices.ContainsFunc(drawn, func(name string) bool { return !slices.Contains(s.Scenarios, name) }) {
		p.errorf(campaign, "the campaign's faults are not among the suite's scenarios and would not be tried: "+
			"add %s there", AllDeclared)
	}
	if bounded != nil && s.Baselines != "" {
		p.errorf(bounded, "bounded_ms and baselines exclude each other: "+
			"a fault that is undone does not wait for watchdogs; use two suites")
	}
	if sweep != nil {
		s.Sweeps = p.sweeps(sweep)
		p.swept(sweep, s)
	}
	for _, name := range s.Scenarios {
		if i := p.v.scenario(name); i >= 0 {
			p.possible(n, bounded, s, &p.v.Scenarios[i])
		}
	}
}

// possible checks that a scenario can be tried with the suite's mechanisms, lengths,
// guests and timing.
func (p *parser) possible(n, bounded *yaml.Node, s *Suite, sc *scenario) {
	for _, m := range s.Mechanisms {
		if sc.OfMonitor && !slices.Contains(p.v.opening(), m) {
			p.errorf(n, "scenario %q cannot be tried with mechanism %q, only with %s: put the two in suites of their own",
				sc.ID, m, strings.Join(p.v.opening(), ", "))
		}
	}
	if why := sc.Lasting(); why != "" && bounded != nil {
		p.errorf(bounded, "bounded_ms cannot undo scenario %q, which %s: put it in a suite of its own", sc.ID, why)
	}
	if sc.Measures() {
		for _, g := range s.Guests {
			if needs := sc.Programs(); needs != "" && g.Programs != needs {
				p.errorf(n, "scenario %q needs a guest with programs: %s and one of the guests has none: "+
					"put the two in suites of their own", sc.ID, needs)
			}
		}
		if s.Timing.BaselineMS%1000 != 0 {
			p.errorf(n, "scenario %q runs for whole seconds and baseline_ms is %d: use a multiple of 1000",
				sc.ID, s.Timing.BaselineMS)
		}
	}
	for _, g := range s.Guests {
		if g.VCPUs < sc.MinVCPUs {
			p.errorf(n, "scenario %q needs a guest with %d vCPUs and one of the guests has %d: "+
				"put the two in suites of their own", sc.ID, sc.MinVCPUs, g.VCPUs)
		}
	}
}

// Words that stand for all scenarios of a kind.
const (
	// AllFaults stands for every fault that all guests of the suite can have, and that
	// can be bounded if the suite has bounded_ms. The monitor's own fault is not one of
	// them: few mechanisms can have it.
	AllFaults = "all-faults"
	// AllControls stands for every control that measures nothing.
	AllControls = "all-controls"
)

// scenarioNames returns the names that a list of scenarios may have.
func (p *parser) scenarioNames() []string { return append(p.v.ScenarioNames(), p.mistaken...) }

// scenarios reads the scenarios of a suite. AllFaults, AllControls and AllDeclared are
// replaced by those of their kind that the list does not name, in the order of
// scenarios.All and then of the suite's faults. Each may also stand alone in place of the
// list.
func (p *parser) scenarios(n *yaml.Node, s *Suite, bounded bool) []string {
	words := []string{AllFaults, AllControls}
	if len(s.Declared) > 0 {
		words = append(words, AllDeclared)
	}
	named := p.names(asList(n, words...), "scenario", append(p.scenarioNames(), words...))
	var all []string
	for _, name := range named {
		if !slices.Contains(words, name) {
			all = append(all, name)
			continue
		}
		for _, sc := range p.v.Scenarios {
			_, declared := s.Declared[sc.ID]
			of := declared
			if name != AllDeclared {
				of = sc.Control() == (name == AllControls) && !sc.Measures() && !sc.OfMonitor
			}
			if !of || slices.Contains(named, sc.ID) || slices.Contains(all, sc.ID) {
				continue
			}
			small := func(g Guest) bool { return g.VCPUs < sc.MinVCPUs }
			if slices.ContainsFunc(s.Guests, small) || bounded && sc.Lasting() != "" {
				continue
			}
			all = append(all, sc.ID)
		}
	}
	if len(all) == 0 && len(named) > 0 {
		p.errorf(n, "scenarios is %s and there is none that the suite can try: name some", strings.Join(named, ", "))
	}
	return all
}

// AllMechanisms stands for every mechanism that attaches a monitor.
const AllMechanisms = "all-mechanisms"

// mechanisms reads the mechanisms of a suite. AllMechanisms is replaced by those that
// the list does not name, in the order of trap.Mechanisms. It may also stand alone in
// place of the list.
func (p *parser) mechanisms(n *yaml.Node, s *Suite) []string {
	valid := slices.Concat(p.v.MechanismNames(), observerNames(s.Observers), []string{AllMechanisms})
	named := p.names(asList(n, AllMechanisms), "mechanism", valid)
	var all []string
	for _, name := range named {
		if name != AllMechanisms {
			all = append(all, name)
			continue
		}
		for _, m := range p.v.MechanismNames() {
			if m != results.Unwatched && !slices.Contains(named, m) {
				all = append(all, m)
			}
		}
	}
	return all
}

// asList returns a list of the node alone if the node is one of the words, and
// otherwise the node.
func asList(n *yaml.Node, words ...string) *yaml.Node {
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
		return n
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Content: []*yaml.Node{n}}
}

func (p *parser) guests(n *yaml.Node) []Guest {
	var guests []Guest
	first := make(map[Guest]int)
	p.sequence(n, "guests", func(item *yaml.Node) {
		before := len(p.problems)
		var g Guest
		read := readers{}
		for _, k := range keysOf(OfGuest) {
			read[k.Name] = func(n *yaml.Node) { p.guestKey(n, k, &g) }
		}
		p.section(item, OfGuest, read)
		if len(p.problems) > before {
			return
		}
		if g.Programs != "" && g.MemoryMiB < leastProgramsMiB {
			p.errorf(item, "memory_mib is %d, too little for a guest with %s: use at least %d",
				g.MemoryMiB, g.Programs, leastProgramsMiB)
			return
		}
		if g.Type == HVM && g.Boot == Plain {
			p.errorf(item, "a guest of type hvm boots as its disc says, which is as a distribution does: remove boot: plain")
			return
		}
		if g.Type == HVM && g.XenRelease != "" && g.XenRelease != p.v.Xens[0] {
			p.errorf(item, "the lab has guests of type hvm on Xen %s alone: remove type: hvm, or xen: %q", p.v.Xens[0],
				g.XenRelease)
			return
		}
		// So that a guest written in two ways is one guest.
		switch {
		case g.Type == HVM:
			g.Boot = Distro
		case g.Boot == Plain:
			g.Boot = ""
		}
		if g.Type == PVH {
			g.Type = ""
		}
		if line, dup := first[g]; dup {
			p.errorf(item, "the same guest stands in line %d: remove one of them, repetitions say how often a cell is run", line)
			return
		}
		first[g] = item.Line
		guests = append(guests, g)
	})
	return guests
}

// guestKey reads the value of a key into its field.
func (p *parser) guestKey(n *yaml.Node, k Key, g *Guest) {
	switch to := k.field(g).(type) {
	case *bool:
		p.boolean(n, k.Name, to)
	case *int:
		*to = int(p.number(n, OfGuest, k.Name))
	case *string:
		if !p.text(n, k.Name, to) || k.values == nil {
			return
		}
		if path, ok := strings.CutPrefix(*to, k.file); ok && k.file != "" {
			if path == "" || strings.ContainsFunc(path, unicode.IsControl) {
				p.errorf(n, "%s is %q: write the path of a file behind %s", k.Name, clip(*to), k.file)
			}
			return
		}
		p.known(n, k.Name, *to, k.values(&p.v))
	default:
		panic(fmt.Sprintf("suites: key %s has a field of type %T", k.Name, to))
	}
}

func (p *parser) timing(n *yaml.Node, t *Timing) {
	before := len(p.problems)
	read := readers{}
	for name, to := range map[string]*int64{
		"baseline_ms": &t.BaselineMS, "observe_ms": &t.ObserveMS, "deadline_ms": &t.DeadlineMS,
		"recovery_ms": &t.RecoveryMS, "sample_ms": &t.SampleMS,
	} {
		read[name] = func(n *yaml.Node) { *to = p.number(n, OfTiming, name) }
	}
	p.section(n, OfTiming, read)
	if len(p.problems) > before {
		return
	}
	if t.ObserveMS < t.BaselineMS {
		p.errorf(n, "observe_ms %d is shorter than baseline_ms %d: "+
			"the two windows of the progress ratio must fit, raise observe_ms", t.ObserveMS, t.BaselineMS)
	}
	if t.SampleMS > t.BaselineMS {
		p.errorf(n, "sample_ms %d is longer than baseline_ms %d: no sample would fall into the window, lower sample_ms",
			t.SampleMS, t.BaselineMS)
	}
}

// baselines reads a setting or a truth value.
func (p *parser) baselines(n *yaml.Node, to *string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && len(p.v.Baselines) > 0 {
		var on bool
		if p.boolean(n, "baselines", &on); on {
			*to = p.v.Baselines[0]
		}
		return
	}
	if p.text(n, "baselines", to) {
		p.known(n, "baselines", *to, p.v.Baselines)
	}
}

const (
	// mostObservers, mostArguments and mostArgument bound what a suite may start in
	// dom0: observers, words of a command, and bytes of a word.
	mostObservers = 4
	mostArguments = 64
	mostArgument  = 4096
)

// observers reads a list of programs that watch the guest.
func (p *parser) observers(n *yaml.Node) []Observer {
	var all []Observer
	taken := append(p.v.MechanismNames(), "monitor", "linux", "xen")
	first := make(map[string]int)
	p.sequence(n, "observers", func(item *yaml.Node) {
		before := len(p.problems)
		var o Observer
		p.section(item, OfObserver, readers{
			"name":    func(n *yaml.Node) { p.name(n, &o.Name, "my-probe") },
			"command": func(n *yaml.Node) { o.Command = p.command(n) },
		})
		switch {
		case len(p.problems) > before:
			return
		case slices.Contains(taken, o.Name):
			p.errorf(item, "an observer cannot be called %q: that is the name of a mechanism or of another observer", o.Name)
		case first[o.Name] != 0:
			p.errorf(item, "observer %q stands in line %d already: remove one of them", o.Name, first[o.Name])
		}
		first[o.Name] = item.Line
		all = append(all, o)
	})
	if len(all) > mostObservers {
		p.errorf(n, "there are %d observers: use at most %d", len(all), mostObservers)
	}
	return all
}

// command reads a program with its arguments.
func (p *parser) command(n *yaml.Node) []string {
	var args []string
	p.sequence(n, "command", func(item *yaml.Node) {
		var arg string
		if !p.text(item, "command", &arg) {
			return
		}
		if len(arg) > mostArgument || strings.ContainsRune(arg, 0) {
			p.errorf(item, "command %q: a word has at most %d bytes, and no zero byte", clip(arg), mostArgument)
		}
		args = append(args, arg)
	})
	switch {
	case len(args) > mostArguments:
		p.errorf(n, "command has %d words: use at most %d", len(args), mostArguments)
	case len(args) > 0 && !strings.HasPrefix(args[0], "/"):
		p.errorf(n, "command begins with %q: write the whole path of the program in dom0", clip(args[0]))
	}
	return args
}

// observerNames are the names of the observers.
func observerNames(observers []Observer) []string {
	var names []string
	for _, o := range observers {
		names = append(names, o.Name)
	}
	return names
}

func (p *parser) thresholds(n *yaml.Node) map[string]int64 {
	values := make(map[string]int64)
	read := readers{}
	for _, t := range p.v.Thresholds {
		read[t.Name] = func(n *yaml.Node) { values[t.Name] = p.integer(n, t.Name, span{t.Min, t.Max}) }
	}
	p.mapping(n, "thresholds", nil, read)
	return values
}

// sweeps reads a list of thresholds with their values. swept decides which scenarios of
// the suite a sweep has, when all keys have been read. sweeps returns none if any has a
// problem.
func (p *parser) sweeps(n *yaml.Node) []Sweep {
	start := len(p.problems)
	var names []string
	for _, t := range p.v.Thresholds {
		names = append(names, t.Name)
	}
	var all []Sweep
	first := make(map[string]int)
	p.sequence(n, "sweep", func(item *yaml.Node) {
		before := len(p.problems)
		var w Sweep
		var values *yaml.Node
		p.section(item, OfSweep, readers{
			"threshold": func(n *yaml.Node) {
				if p.text(n, "threshold", &w.Threshold) {
					p.known(n, "threshold", w.Threshold, names)
				}
			},
			"values":     func(n *yaml.Node) { values = n },
			"scenarios":  func(n *yaml.Node) { w.Scenarios = p.names(n, "scenario", p.scenarioNames()) },
			"thresholds": func(n *yaml.Node) { w.Thresholds = p.thresholds(n) },
		})
		if len(p.problems) > before {
			return
		}
		if line, dup := first[w.Threshold]; dup {
			p.errorf(item, "threshold %q is swept in line %d already: write all its values there", w.Threshold, line)
			return
		}
		first[w.Threshold] = item.Line
		t := p.v.Thresholds[slices.Index(names, w.Threshold)]
		if w.Values = p.numbers(values, w.Threshold, span{t.Min, t.Max}); len(p.problems) > before {
			return
		}
		if len(w.Values) < 2 {
			p.errorf(values, "the sweep of %s has one value: write two or more, or set it under thresholds", w.Threshold)
		}
		all = append(all, w)
	})
	if len(p.problems) > start {
		return nil
	}
	return all
}

// swept checks the sweeps against the rest of the suite. A sweep without scenarios gets
// all of the suite's.
func (p *parser) swept(n *yaml.Node, s *Suite) {
	for i := range s.Sweeps {
		w := &s.Sweeps[i]
		if _, set := s.Thresholds[w.Threshold]; set {
			p.errorf(n, "%s is swept and stands under thresholds too: remove it there", w.Threshold)
		}
		if w.Scenarios == nil {
			w.Scenarios = s.Scenarios
		}
		for _, other := range s.Sweeps {
			if _, set := w.Thresholds[other.Threshold]; set {
				p.errorf(n,
					"%s is swept and set in the sweep of %s: the two cannot be told apart, put one in a suite of its own",
					other.Threshold, w.Threshold)
			}
		}
		for _, name := range w.Scenarios {
			if !slices.Contains(s.Scenarios, name) {
				p.errorf(n, "scenario %q of the sweep of %s is not among the suite's scenarios: add it there", name, w.Threshold)
			}
		}
	}
	for _, name := range s.Scenarios {
		if len(s.Sweeps) > 0 && len(s.Settings(name)) == 0 {
			p.errorf(n, "scenario %q is in no sweep and would not be tried: "+
				"add it to one, or put it in a suite of its own", name)
		}
	}
}
