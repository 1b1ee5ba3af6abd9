package kernelcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hangbench/bench/dom0"
	"hangbench/guests/kernel"
	"hangbench/guests/lab"
	"hangbench/monitor/detect"
	"hangbench/monitor/linux"
	"hangbench/monitor/trap"
	"hangbench/scenarios"
)

// Item is one thing that a kernel must have or do.
type Item struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	// Names are fields, constants and symbols, with whether the kernel has them. Those of
	// the way that is used come first.
	Names []Name `json:"names,omitempty"`
	// Effect says what is worse, or impossible, without it. It is empty if OK.
	Effect string `json:"effect,omitempty"`
}

// Name is a field, a type, a constant or a symbol of a kernel.
type Name struct {
	Name  string `json:"name"`
	Found bool   `json:"found"`
}

// Class is a class of hangs.
type Class struct {
	Class  detect.Class `json:"class"`
	Judged bool         `json:"judged"`
	Why    []string     `json:"why,omitempty"` // of a class that cannot be judged
}

// Report is what is known of a kernel.
type Report struct {
	Release string `json:"release"`
	Banner  string `json:"banner"`
	Symbols int    `json:"symbols"`
	Types   bool   `json:"types"` // the image has BTF
	// Boot is what a guest of the lab needs, Reads what a monitor reads.
	Boot       []Item  `json:"boot"`
	Reads      []Item  `json:"reads"`
	Classes    []Class `json:"classes"`
	Mechanisms []Item  `json:"mechanisms"`
	Faults     []Item  `json:"faults"`
	// Declared are the faults of a suite, if there is one.
	Declared []Item `json:"declared,omitempty"`
}

// OK reports whether every class can be judged, and every fault of the suite injected.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Classes, func(c Class) bool { return !c.Judged }) &&
		!slices.ContainsFunc(r.Declared, func(i Item) bool { return !i.OK })
}

// Check examines a kernel. Its Types may have no type. It also tries the declared faults
// and controls, which are a suite's.
func Check(ctx context.Context, k *kernel.Kernel, declared []scenarios.Scenario) (*Report, error) {
	p, err := profile(k)
	if err != nil {
		return nil, err
	}
	layout := dom0.LayoutOf(p)
	r := &Report{Release: k.Release, Banner: k.Banner, Symbols: k.Symbols.Len()}
	_, err = k.Types.SizeOf("task_struct")
	r.Types = err == nil
	r.Boot = boot(layout)
	r.Reads = reads(layout)
	r.Classes = classes(layout)
	r.Mechanisms = mechanisms(layout)
	own := slices.DeleteFunc(scenarios.All(), scenarios.Scenario.Control)
	if r.Faults, err = faults(ctx, k, p, own); err != nil {
		return nil, err
	}
	r.Declared, err = faults(ctx, k, p, declared)
	return r, err
}

// profile returns the profile that dom0 would have of the kernel, whatever it lacks.
func profile(k *kernel.Kernel) (*kernel.Profile, error) {
	fields := dom0.Fields()
	for i, f := range fields {
		fields[i] = strings.TrimSuffix(f, "?") + "?"
	}
	return k.Profile(fields)
}

func boot(l linux.Layout) []Item {
	var items []Item
	for _, n := range lab.GuestNeeds() {
		_, _, ok := l.Lookup(n.Symbol)
		i := Item{What: n.What, OK: ok, Names: []Name{{"symbol " + n.Symbol, ok}}}
		if !ok {
			i.Effect = n.Without
		}
		items = append(items, i)
	}
	return items
}

// reads goes through the table of what a monitor reads.
func reads(l linux.Layout) []Item {
	var items []Item
	for _, n := range linux.Needs() {
		first, met := n.Lacks(l)
		i := Item{What: n.What, OK: met}
		for _, has := range []bool{true, false} { // the ways that the kernel has first
			for w, way := range n.Ways {
				if (first[w] == "") != has {
					continue
				}
				for _, name := range way {
					i.add(l, name)
				}
			}
		}
		for _, name := range n.More {
			i.add(l, name)
		}
		if !met {
			i.Effect = effect(&n)
		}
		items = append(items, i)
	}
	return items
}

// add adds a name to an item, once.
func (i *Item) add(l linux.Layout, name string) {
	if !slices.ContainsFunc(i.Names, func(n Name) bool { return n.Name == name }) {
		i.Names = append(i.Names, Name{name, linux.Has(l, name)})
	}
}

// effect says what follows from a need that is not met.
func effect(n *linux.Need) string {
	switch {
	case n.Open:
		return "the kernel cannot be read: no class can be judged"
	case len(n.Stops) > 0:
		var names []string
		for _, c := range n.Stops {
			names = append(names, string(c))
		}
		return "cannot be judged: " + strings.Join(names, ", ")
	}
	return n.Without
}

// classes says which classes can be judged.
func classes(l linux.Layout) []Class {
	var whole []string // why nothing can be judged
	for _, n := range linux.Needs() {
		if _, met := n.Lacks(l); n.Open && !met {
			whole = append(whole, n.Why(l))
		}
	}
	unjudged := linux.Unjudged(l)
	var all []Class
	for _, info := range detect.List() {
		c := Class{Class: info.Class, Why: slices.Clone(whole)}
		for _, u := range unjudged {
			if u.Class == info.Class {
				c.Why = append(c.Why, u.Why)
			}
		}
		c.Judged = len(c.Why) == 0
		all = append(all, c)
	}
	return all
}

// mechanisms says which mechanisms can be used. Before a mechanism is attached, the
// function that switches tasks and the run queues' counts of switches are looked up
// (dom0.Guest.Site), so all mechanisms need both.
func mechanisms(l linux.Layout) []Item {
	const function, counts = "symbol " + dom0.SwitchFunction, "rq.nr_switches"
	var items []Item
	for _, m := range trap.Mechanisms() {
		if !m.Watches() {
			continue
		}
		i := Item{What: m.Name, OK: true}
		for _, name := range []string{function, counts} {
			i.add(l, name)
			if !linux.Has(l, name) {
				i.OK, i.Effect = false, "it cannot be attached: the kernel has no "+strings.TrimPrefix(name, "symbol ")
			}
		}
		items = append(items, i)
	}
	return items
}

// faults tries the fault of every scenario on the image, and the disturbance of one
// without.
func faults(ctx context.Context, k *kernel.Kernel, p *kernel.Profile, all []scenarios.Scenario) ([]Item, error) {
	var items []Item
	for _, s := range all {
		fault := s.Fault
		if s.Control() {
			fault = s.Disturb
		}
		if fault == nil { // the work is all that happens
			items = append(items, Item{What: s.ID, OK: true})
			continue
		}
		t, err := newImage(k, p)
		if err != nil {
			return nil, err
		}
		i := Item{What: s.ID, OK: true}
		in, err := fault(ctx, t)
		if err == nil {
			err = in.Remove(ctx)
		}
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		if err != nil {
			i.OK, i.Effect = false, fmt.Sprintf("it cannot be injected: %v", flat(err))
		}
		items = append(items, i)
	}
	return items, nil
}

// flat returns an error in one line.
func flat(err error) error {
	return errors.New(strings.Join(strings.Split(err.Error(), "\n"), "; "))
}
