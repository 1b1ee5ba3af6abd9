package suites

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hangbench/guests/beat"
	"hangbench/results"
	"hangbench/scenarios"
)

const (
	// AllDeclared stands for every fault that the suite declares.
	AllDeclared = "all-declared"
	// mostFaults is the largest number of faults that a suite declares.
	mostFaults = 200
	// reserved begins the words that stand for several scenarios.
	reserved = "all-"
)

// faults reads the faults that the suite declares, and adds their scenarios to those that
// it may name. It returns the place of each by its name.
func (p *parser) faults(n *yaml.Node, s *Suite) map[string]*yaml.Node {
	at := make(map[string]*yaml.Node)
	s.Declared = make(map[string]results.Declared)
	all := slices.Clone(p.v.Scenarios)
	p.sequence(n, "faults", func(item *yaml.Node) {
		before := len(p.problems)
		name, d := p.fault(item)
		if len(p.problems) > before {
			if name != "" {
				p.mistaken = append(p.mistaken, name)
			}
			return
		}
		if first := at[name]; first != nil {
			p.errorf(item, "fault %q stands in line %d already: remove one of them", name, first.Line)
			return
		}
		at[name] = item
		sc, err := scenarios.Declare(name, d)
		if err == nil {
			s.Declared[name], err = scenarios.Plain(d).Text()
		}
		if err != nil {
			p.errorf(item, "%v", err)
			return
		}
		all = append(all, sc)
	})
	if len(n.Content) > mostFaults && n.Kind == yaml.SequenceNode {
		p.errorf(n, "there are %d faults: use at most %d", len(n.Content), mostFaults)
	}
	p.v.Scenarios = all
	return at
}

// fault reads one fault.
func (p *parser) fault(n *yaml.Node) (name string, d results.Declaration) {
	before := len(p.problems)
	at := make(map[string]*yaml.Node) // where the values stand, by key
	keep := func(key string, read func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) {
			at[key] = n
			read(n)
		}
	}
	var works, classes []string
	for _, w := range beat.Workloads() {
		works = append(works, w.Name)
	}
	for _, c := range scenarios.Classes() {
		classes = append(classes, c.Name)
	}
	d.Args = make(map[string]string)
	read := readers{
		"name": keep("name", func(n *yaml.Node) {
			if p.name(n, &name, "inode-hash"); strings.HasPrefix(name, reserved) {
				p.errorf(n, "name %q begins with %s, as words for several scenarios do: choose another", clip(name), reserved)
			}
		}),
		"work": keep("work", func(n *yaml.Node) { p.work(n, &d.Work, works) }),
		"class": keep("class", func(n *yaml.Node) {
			if p.text(n, "class", &d.Class) {
				p.known(n, "class", d.Class, classes)
			}
		}),
		"exec": keep("exec", func(n *yaml.Node) {
			p.sequence(n, "exec", func(item *yaml.Node) {
				if item.Kind != yaml.ScalarNode || item.Tag != "!!str" && item.Tag != "!!int" {
					p.errorf(item, "exec has %s: write words and whole numbers", describe(item))
					return
				}
				d.Exec = append(d.Exec, item.Value)
			})
		}),
		"final":   keep("final", func(n *yaml.Node) { p.boolean(n, "final", &d.Final) }),
		"seconds": keep("seconds", func(n *yaml.Node) { d.Seconds = int(p.number(n, OfFault, "seconds")) }),
	}
	for _, do := range scenarios.Doings() {
		read[do] = func(n *yaml.Node) {
			if d.Do != "" {
				p.errorf(n, "a fault does %s and %s: declare two faults", d.Do, do)
				return
			}
			d.Do, at["do"] = do, n
			p.arguments(n, do, d.Args, at)
		}
	}
	p.section(n, OfFault, read)
	if len(p.problems) > before {
		return name, d
	}
	if d.Do == "" && d.Class != scenarios.NoHang {
		p.errorf(n, "fault %q does nothing: add one of %s, or write class: %s for a control that is its work", name,
			strings.Join(scenarios.Doings(), ", "), scenarios.NoHang)
		return name, d
	}
	for _, m := range scenarios.Mistakes(name, d) {
		if at[m.Key] == nil {
			at[m.Key] = n
		}
		p.errorf(at[m.Key], "fault %q: %s", name, m.Says)
	}
	return name, d
}

// work reads what the guest does: a work, or a list of works that it does at a time.
func (p *parser) work(n *yaml.Node, to *string, valid []string) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode && len(n.Content) > 0 {
		items = n.Content
	}
	var names []string
	for _, item := range items {
		var name string
		if p.text(item, "work", &name) && p.known(item, "work", name, valid) {
			names = append(names, name)
		}
	}
	*to = beat.Together(names)
}

// arguments reads the arguments of what a fault does.
func (p *parser) arguments(n *yaml.Node, do string, args map[string]string, at map[string]*yaml.Node) {
	read := readers{}
	for _, name := range scenarios.Arguments(do) {
		read[name] = func(n *yaml.Node) {
			at[name] = n
			if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Tag != "!!int" {
				p.errorf(n, "%s is %s: write a word or a whole number", name, describe(n))
				return
			}
			args[name] = n.Value
		}
	}
	p.mapping(n, do, nil, read)
}
