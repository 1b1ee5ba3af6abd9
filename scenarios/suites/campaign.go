package suites

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/sites"
)

// mostDrawn is the largest number of faults that a campaign draws.
const mostDrawn = 2000

// campaign draws faults for the suite as its key campaign says, and adds their scenarios to
// those that the suite may name. The guests of the suite are known.
// It returns the names of the faults.
func (p *parser) campaign(n *yaml.Node, s *Suite) (names []string) {
	before := len(p.problems)
	o := sites.Order{Draw: 1, Half: sites.Tune, Faults: sites.FaultNames(), Class: scenarios.NotKnown}
	var works *yaml.Node
	p.section(n, OfCampaign, readers{
		"sites": func(n *yaml.Node) { o.Number = int(p.number(n, OfCampaign, "sites")) },
		"draw":  func(n *yaml.Node) { o.Draw = uint64(p.number(n, OfCampaign, "draw")) },
		"half": func(n *yaml.Node) {
			if p.text(n, "half", &o.Half) {
				p.known(n, "half", o.Half, sites.Halves())
			}
		},
		"kinds": func(n *yaml.Node) { o.Faults = p.names(n, "kind of fault", sites.FaultNames()) },
		"works": func(n *yaml.Node) { works = n },
	})
	if len(p.problems) > before || len(s.Guests) == 0 {
		return nil
	}
	kernel := s.Guests[0].Kernel
	if slices.ContainsFunc(s.Guests, func(g Guest) bool { return g.Kernel != kernel }) {
		p.errorf(n, "the guests have several kernels, and a campaign draws places of one: use a suite for each kernel")
		return nil
	}
	f, err := sites.Of(kernel)
	if errors.Is(err, sites.ErrNone) {
		p.errorf(n, "no places are recorded of kernel %q: use one of %s, or record them (hangbench bench sites --kernel %s)",
			clip(kernel), orNone(sites.Recorded()), clip(kernel))
		return nil
	}
	if err != nil {
		p.errorf(n, "%v", err)
		return nil
	}
	o.Works = f.Works
	if works != nil {
		o.Works = p.names(works, "work", f.Works)
	}
	if len(p.problems) > before {
		return nil
	}
	drawn, err := f.Draw(o)
	if err != nil {
		p.errorf(n, "%v: lower sites, or name more kinds and works", err)
		return nil
	}
	p.declare(n, s, drawn)
	for _, d := range drawn {
		names = append(names, d.Name)
	}
	return names
}

// declare adds the scenarios of faults that were drawn.
func (p *parser) declare(n *yaml.Node, s *Suite, drawn []sites.Drawn) {
	if s.Declared == nil {
		s.Declared = make(map[string]results.Declared)
	}
	all := slices.Clone(p.v.Scenarios)
	for _, d := range drawn {
		if _, taken := s.Declared[d.Name]; taken {
			p.errorf(n, "the campaign draws a fault %q, which the suite declares too: name that one otherwise", d.Name)
			continue
		}
		sc, err := scenarios.Declare(d.Name, d.Declaration)
		if err == nil {
			s.Declared[d.Name], err = scenarios.Plain(d.Declaration).Text()
		}
		if err != nil {
			p.errorf(n, "the campaign draws what cannot be declared: %v", err)
			continue
		}
		all = append(all, sc)
	}
	p.v.Scenarios = all
}

// orNone lists names, and says none if there are none.
func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
