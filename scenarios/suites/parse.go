package suites

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a suite. The file name is used in messages only. The error, if
// any, joins one sentence for every problem found, in the order of the lines.
//
// The YAML is walked node by node instead of decoded into a struct: only so
// does every message carry the line of the value it is about.
func Parse(file string, data []byte, v Vocabulary) (*Suite, error) {
	p := &parser{file: file, v: v}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:1: the file is empty: a suite needs at least name, scenarios, mechanisms, guests and repetitions", file)
	} else if err != nil {
		return nil, p.syntax(err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		p.errorf(&second, "a second document begins here: a suite file holds one suite, put the other into a file of its own")
	} else if !errors.Is(err, io.EOF) {
		return nil, p.syntax(err)
	}

	s := &Suite{Timing: DefaultTiming(), Drivers: []string{defaultDriver}, Text: bytes.Clone(data)}
	p.suite(doc.Content[0], s)
	if len(p.problems) > 0 {
		sort.SliceStable(p.problems, func(i, j int) bool { return p.problems[i].line < p.problems[j].line })
		errs := make([]error, len(p.problems))
		for i, pr := range p.problems {
			errs[i] = fmt.Errorf("%s:%d: %s", file, pr.line, pr.text)
		}
		return nil, errors.Join(errs...)
	}
	return s, nil
}

type parser struct {
	file     string
	v        Vocabulary
	problems []problem
}

type problem struct {
	line int
	text string
}

func (p *parser) errorf(n *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, problem{max(n.Line, 1), fmt.Sprintf(format, args...)})
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// syntax turns the library's "yaml: line 3: ..." into file:line form.
func (p *parser) syntax(err error) error {
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: not valid YAML: %s", p.file, m[1], m[2])
	}
	return fmt.Errorf("%s: not valid YAML: %s", p.file, strings.TrimPrefix(err.Error(), "yaml: "))
}

var namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (p *parser) suite(n *yaml.Node, s *Suite) {
	var bounded, sweep *yaml.Node
	p.mapping(n, "the suite", []field{
		{"name", true, func(n *yaml.Node) {
			if p.text(n, "name", &s.Name) && !namePattern.MatchString(s.Name) {
				p.errorf(n, "name %q: use lower-case letters, digits and single dashes, as in hang-latency", s.Name)
			}
		}},
		{"description", false, func(n *yaml.Node) { p.text(n, "description", &s.Description) }},
		{"scenarios", true, func(n *yaml.Node) { s.Scenarios = p.names(n, "scenario", p.v.Scenarios) }},
		{"mechanisms", true, func(n *yaml.Node) { s.Mechanisms = p.names(n, "mechanism", p.v.Mechanisms) }},
		{"drivers", false, func(n *yaml.Node) { s.Drivers = p.names(n, "driver", p.v.Drivers) }},
		{"guests", true, func(n *yaml.Node) { s.Guests = p.guests(n) }},
		{"repetitions", true, func(n *yaml.Node) {
			var reps int64
			p.integer(n, "repetitions", rangeRepetitions, &reps)
			s.Repetitions = int(reps)
		}},
		{"bounded_ms", false, func(n *yaml.Node) {
			bounded = n
			s.BoundedMS = p.lengths(n)
		}},
		{"timing", false, func(n *yaml.Node) { p.timing(n, &s.Timing) }},
		{"thresholds", false, func(n *yaml.Node) { s.Thresholds = p.thresholds(n) }},
		{"sweep", false, func(n *yaml.Node) { sweep, s.Sweeps = n, p.sweeps(n) }},
		{"baselines", false, func(n *yaml.Node) { p.baselines(n, &s.Baselines) }},
	})
	if bounded != nil && s.Baselines != "" {
		p.errorf(bounded, "bounded_ms and baselines exclude each other: a fault that is undone does not wait for watchdogs; use two suites")
	}
	if sweep != nil {
		p.swept(sweep, s)
	}
	for _, name := range s.Scenarios {
		if only, ok := p.v.Only[name]; ok {
			for _, m := range s.Mechanisms {
				if !slices.Contains(only, m) {
					p.errorf(n, "scenario %q cannot be tried with mechanism %q, only with %s: put the two in suites of their own", name, m, strings.Join(only, ", "))
				}
			}
		}
		if why := p.v.Lasting[name]; why != "" && bounded != nil {
			p.errorf(bounded, "bounded_ms cannot undo scenario %q, which %s: put it in a suite of its own", name, why)
		}
		if needs, ok := p.v.Workloads[name]; ok {
			for _, g := range s.Guests {
				if needs != "" && g.Programs != needs {
					p.errorf(n, "scenario %q needs a guest with programs: %s and one of the guests has none: put the two in suites of their own", name, needs)
				}
			}
			if s.Timing.BaselineMS%1000 != 0 {
				p.errorf(n, "scenario %q runs for whole seconds and baseline_ms is %d: use a multiple of 1000", name, s.Timing.BaselineMS)
			}
		}
		for _, g := range s.Guests {
			if need := p.v.MinVCPUs[name]; g.VCPUs < need {
				p.errorf(n, "scenario %q needs a guest with %d vCPUs and one of the guests has %d: put the two in suites of their own", name, need, g.VCPUs)
			}
		}
	}
}

func (p *parser) guests(n *yaml.Node) []Guest {
	var guests []Guest
	first := make(map[Guest]int)
	p.sequence(n, "guests", func(item *yaml.Node) {
		before := len(p.problems)
		var g Guest
		var vcpus, memory, neighbours int64
		p.mapping(item, "a guest", []field{
			{"kernel", true, func(n *yaml.Node) {
				if p.text(n, "kernel", &g.Kernel) {
					p.known(n, "kernel", g.Kernel, p.v.Kernels)
				}
			}},
			{"vcpus", true, func(n *yaml.Node) { p.integer(n, "vcpus", rangeVCPUs, &vcpus) }},
			{"memory_mib", true, func(n *yaml.Node) { p.integer(n, "memory_mib", rangeMemoryMiB, &memory) }},
			{"boot", false, func(n *yaml.Node) {
				if p.text(n, "boot", &g.Boot) {
					p.known(n, "boot", g.Boot, []string{Plain, Distro})
				}
			}},
			{"superpages", false, func(n *yaml.Node) { p.boolean(n, "superpages", &g.Superpages) }},
			{"neighbours", false, func(n *yaml.Node) { p.integer(n, "neighbours", rangeNeighbours, &neighbours) }},
			{"programs", false, func(n *yaml.Node) {
				if p.text(n, "programs", &g.Programs) {
					p.known(n, "programs", g.Programs, p.v.Programs)
				}
			}},
		})
		if len(p.problems) > before {
			return
		}
		g.VCPUs, g.MemoryMiB, g.Neighbours = int(vcpus), int(memory), int(neighbours)
		if g.Programs != "" && g.MemoryMiB < leastProgramsMiB {
			p.errorf(item, "memory_mib is %d, too little for a guest with %s: use at least %d", g.MemoryMiB, g.Programs, leastProgramsMiB)
			return
		}
		if g.Boot == Plain {
			g.Boot = "" // one guest, not two, however it is written
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

func (p *parser) timing(n *yaml.Node, t *Timing) {
	before := len(p.problems)
	number := func(key string, r span, v *int64) field {
		return field{key, false, func(n *yaml.Node) { p.integer(n, key, r, v) }}
	}
	p.mapping(n, "timing", []field{
		number("baseline_ms", rangeBaseline, &t.BaselineMS),
		number("observe_ms", rangeObserve, &t.ObserveMS),
		number("deadline_ms", rangeDeadline, &t.DeadlineMS),
		number("recovery_ms", rangeRecovery, &t.RecoveryMS),
		number("sample_ms", rangeSample, &t.SampleMS),
	})
	if len(p.problems) > before {
		return
	}
	if t.ObserveMS < t.BaselineMS {
		p.errorf(n, "observe_ms %d is shorter than baseline_ms %d: the two windows of the progress ratio must fit, raise observe_ms", t.ObserveMS, t.BaselineMS)
	}
	if t.SampleMS > t.BaselineMS {
		p.errorf(n, "sample_ms %d is longer than baseline_ms %d: no sample would fall into the window, lower sample_ms", t.SampleMS, t.BaselineMS)
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

func (p *parser) thresholds(n *yaml.Node) map[string]int64 {
	values := make(map[string]int64)
	fields := make([]field, len(p.v.Thresholds))
	for i, t := range p.v.Thresholds {
		fields[i] = field{t.Name, false, func(n *yaml.Node) {
			var v int64
			p.integer(n, t.Name, span{t.Min, t.Max}, &v)
			values[t.Name] = v
		}}
	}
	p.mapping(n, "thresholds", fields)
	return values
}

// sweeps reads a list of thresholds with their values. Which scenarios of the
// suite a sweep has is settled in swept, when all keys have been read. It returns
// none if any has a problem.
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
		p.mapping(item, "a sweep", []field{
			{"threshold", true, func(n *yaml.Node) {
				if p.text(n, "threshold", &w.Threshold) {
					p.known(n, "threshold", w.Threshold, names)
				}
			}},
			{"values", true, func(n *yaml.Node) { values = n }},
			{"scenarios", false, func(n *yaml.Node) { w.Scenarios = p.names(n, "scenario", p.v.Scenarios) }},
			{"thresholds", false, func(n *yaml.Node) { w.Thresholds = p.thresholds(n) }},
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

// swept checks the sweeps against the rest of the suite. One without scenarios
// has all of the suite's.
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
				p.errorf(n, "%s is swept and set in the sweep of %s: the two cannot be told apart, put one in a suite of its own", other.Threshold, w.Threshold)
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
			p.errorf(n, "scenario %q is in no sweep and would not be tried: add it to one, or put it in a suite of its own", name)
		}
	}
}

// field is a key a mapping may have.
type field struct {
	key      string
	required bool
	parse    func(value *yaml.Node)
}

func (p *parser) mapping(n *yaml.Node, what string, fields []field) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "%s is %s: write it as key: value lines", what, describe(n))
		return
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := slices.Index(keys, key.Value)
		if key.Kind != yaml.ScalarNode || at < 0 {
			got := key.Value
			if key.Kind != yaml.ScalarNode {
				got = describe(key)
			}
			p.errorf(key, "%s has no key %q%s: valid keys are %s", what, clip(got), DidYouMean(got, keys), list(keys))
			continue
		}
		if line, dup := seen[key.Value]; dup {
			p.errorf(key, "key %q stands in line %d already: remove one of them", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		fields[at].parse(value)
	}
	for _, f := range fields {
		if f.required && seen[f.key] == 0 {
			p.errorf(n, "%s has no %s: add the key", what, f.key)
		}
	}
}

func (p *parser) sequence(n *yaml.Node, what string, parse func(item *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		p.errorf(n, "%s is %s: write a list, as in [a, b]", what, describe(n))
		return
	}
	if len(n.Content) == 0 {
		p.errorf(n, "%s is an empty list: name at least one", what)
	}
	for _, item := range n.Content {
		parse(item)
	}
}

// names reads a list of known names without duplicates.
func (p *parser) names(n *yaml.Node, what string, valid []string) []string {
	var names []string
	first := make(map[string]int)
	p.sequence(n, what+"s", func(item *yaml.Node) {
		var name string
		if !p.text(item, what, &name) || !p.known(item, what, name, valid) {
			return
		}
		if line, dup := first[name]; dup {
			p.errorf(item, "%s %q stands in line %d already: remove one of them, repetitions say how often a cell is run", what, name, line)
			return
		}
		first[name] = item.Line
		names = append(names, name)
	})
	return names
}

// lengths reads how long faults last.
func (p *parser) lengths(n *yaml.Node) []int64 {
	if n.Kind == yaml.SequenceNode {
		// 0 is no length but none: it is not in the range of the others.
		if i := slices.IndexFunc(n.Content, func(item *yaml.Node) bool { return item.Tag == "!!int" && item.Value == "0" }); i >= 0 {
			rest := *n
			rest.Content = slices.Delete(slices.Clone(n.Content), i, i+1)
			if len(rest.Content) == 0 {
				p.errorf(n, "bounded_ms is 0 alone, which bounds nothing: remove the key, or add a time")
				return nil
			}
			return append([]int64{0}, p.numbers(&rest, "bounded_ms", rangeBounded)...)
		}
	}
	return p.numbers(n, "bounded_ms", rangeBounded)
}

// numbers reads a list of different whole numbers.
func (p *parser) numbers(n *yaml.Node, what string, r span) (list []int64) {
	first := make(map[int64]int)
	p.sequence(n, what, func(item *yaml.Node) {
		var v int64
		before := len(p.problems)
		p.integer(item, what, r, &v)
		if len(p.problems) > before {
			return
		}
		if line, dup := first[v]; dup {
			p.errorf(item, "%s %d stands in line %d already: remove one of them, repetitions say how often a cell is run", what, v, line)
			return
		}
		first[v] = item.Line
		list = append(list, v)
	})
	return list
}

func (p *parser) known(n *yaml.Node, what, name string, valid []string) bool {
	if slices.Contains(valid, name) {
		return true
	}
	p.errorf(n, "%s %q is unknown%s: valid are %s", what, clip(name), DidYouMean(name, valid), list(valid))
	return false
}

func (p *parser) text(n *yaml.Node, what string, to *string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		p.errorf(n, "%s is %s: write a word or a text in quotes", what, describe(n))
		return false
	}
	if strings.TrimSpace(n.Value) == "" {
		p.errorf(n, "%s is empty: write a word or remove the key", what)
		return false
	}
	*to = n.Value
	return true
}

func (p *parser) boolean(n *yaml.Node, what string, to *bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(to) != nil {
		p.errorf(n, "%s is %s: write true or false", what, describe(n))
	}
}

func (p *parser) integer(n *yaml.Node, what string, r span, to *int64) {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		v, err = math.MaxInt64, nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		p.errorf(n, "%s is %s: write a whole number from %d to %d without a unit", what, describe(n), r.min, r.max)
		return
	}
	if v < r.min || v > r.max {
		p.errorf(n, "%s is %s, out of range: use %d to %d", what, clip(n.Value), r.min, r.max)
		return
	}
	*to = v
}

// describe says what a node is, for messages about the wrong type.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + clip(n.Value) + "), which suites do not have"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return "the truth value " + clip(n.Value)
	}
	return fmt.Sprintf("%q (%s)", clip(n.Value), clip(n.Tag))
}

// clip keeps a value short enough for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(names))
	return strings.Join(sorted, ", ")
}
