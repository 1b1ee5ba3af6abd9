package suites

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"hangbench/results/printable"
)

// readers read the values of the keys of a section, by the name of the key.
type readers map[string]func(value *yaml.Node)

// section reads a mapping with the keys of a section, each of which has a reader.
func (p *parser) section(n *yaml.Node, s Section, read readers) {
	p.mapping(n, s.title(), keysOf(s), read)
}

// mapping reads a mapping. Keys that are not among keys, keys that stand there twice
// and required keys that are missing are problems.
func (p *parser) mapping(n *yaml.Node, what string, keys []Key, read readers) {
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "%s is %s: write it as key: value lines", what, describe(n))
		return
	}
	if n.Tag != "!!map" {
		p.errorf(n, "%s has the tag %s, which suites do not have: remove it", what, clip(n.Tag))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f, ok := read[key.Value]
		if key.Kind != yaml.ScalarNode {
			p.errorf(key, "%s has %s as a key: write a word", what, describe(key))
			continue
		}
		if !ok {
			p.errorf(key, "%s has no key %q%v", what, clip(key.Value),
				advice{key.Value, "valid keys are", slices.Collect(maps.Keys(read))})
			continue
		}
		if line, dup := seen[key.Value]; dup {
			p.errorf(key, "key %q stands in line %d already: remove one of them", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(value)
	}
	for _, k := range keys {
		if k.Required && seen[k.Name] == 0 {
			p.errorf(n, "%s has no %s: add the key", what, k.Name)
		}
	}
}

func (p *parser) sequence(n *yaml.Node, what string, parse func(item *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		p.errorf(n, "%s is %s: write a list, as in [a, b]", what, describe(n))
		return
	}
	if n.Tag != "!!seq" {
		p.errorf(n, "%s has the tag %s, which suites do not have: remove it", what, clip(n.Tag))
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
			p.errorf(item, "%s %q stands in line %d already: remove one of them, repetitions say how often a cell is run",
				what, name, line)
			return
		}
		first[name] = item.Line
		names = append(names, name)
	})
	return names
}

// lengths reads how long faults last. 0 stands for a fault without a fixed length: it
// is outside the range of the others, and must not be alone.
func (p *parser) lengths(n *yaml.Node) []int64 {
	r := rangeOf(Whole, "bounded_ms")
	if n.Kind == yaml.SequenceNode {
		zero := func(item *yaml.Node) bool { return item.Tag == "!!int" && item.Value == "0" }
		if i := slices.IndexFunc(n.Content, zero); i >= 0 {
			rest := *n
			rest.Content = slices.Delete(slices.Clone(n.Content), i, i+1)
			if len(rest.Content) == 0 {
				p.errorf(n, "bounded_ms is 0 alone, which bounds nothing: remove the key, or add a time")
				return nil
			}
			return append([]int64{0}, p.numbers(&rest, "bounded_ms", r)...)
		}
	}
	return p.numbers(n, "bounded_ms", r)
}

// numbers reads a list of different whole numbers.
func (p *parser) numbers(n *yaml.Node, what string, r span) (all []int64) {
	first := make(map[int64]int)
	p.sequence(n, what, func(item *yaml.Node) {
		before := len(p.problems)
		v := p.integer(item, what, r)
		if len(p.problems) > before {
			return
		}
		if line, dup := first[v]; dup {
			p.errorf(item, "%s %d stands in line %d already: remove one of them, repetitions say how often a cell is run",
				what, v, line)
			return
		}
		first[v] = item.Line
		all = append(all, v)
	})
	return all
}

func (p *parser) known(n *yaml.Node, what, name string, valid []string) bool {
	if slices.Contains(valid, name) {
		return true
	}
	p.errorf(n, "%s %q is unknown%v", what, clip(name), advice{name, "valid are", valid})
	return false
}

// advice is the end of a sentence about an unknown name: the nearest of the valid names,
// and all of them.
type advice struct {
	got   string
	are   string
	valid []string
}

// String implements fmt.Stringer.
func (a advice) String() string {
	valid := slices.Sorted(slices.Values(a.valid))
	return fmt.Sprintf("%s: %s %s", DidYouMean(a.got, valid), a.are, listed(valid))
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

// number reads the whole number of a key.
func (p *parser) number(n *yaml.Node, s Section, name string) int64 {
	return p.integer(n, name, rangeOf(s, name))
}

// integer reads a whole number within a range. It returns 0 if that is a problem.
func (p *parser) integer(n *yaml.Node, what string, r span) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if digits := strings.TrimLeft(n.Value, "+-"); len(digits) > 1 && digits[0] == '0' {
		err = strconv.ErrSyntax // 010 is 8 in some versions of YAML, and 10 in others
	}
	if errors.Is(err, strconv.ErrRange) {
		v, err = math.MaxInt64, nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		p.errorf(n, "%s is %s: write a whole number from %d to %d without a unit or a leading zero", what, describe(n),
			r.min, r.max)
		return 0
	}
	if v < r.min || v > r.max {
		p.errorf(n, "%s is %s, out of range: use %d to %d", what, printable.Line(clip(n.Value)), r.min, r.max)
		return 0
	}
	return v
}

// span is a range of whole numbers, both ends included.
type span struct{ min, max int64 }

// rangeOf is the range of a key.
func rangeOf(s Section, name string) span {
	k := findKey(s, name)
	return span{k.Min, k.Max}
}

// describe names the type and value of a node, for messages about the wrong type.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + printable.Line(clip(n.Value)) + "), which suites do not have"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	case "!!int", "!!float":
		return "the number " + printable.Line(clip(n.Value))
	case "!!bool":
		return "the truth value " + printable.Line(clip(n.Value))
	}
	return fmt.Sprintf("%q (%s)", clip(n.Value), clip(n.Tag))
}

// clip cuts a value that is too long for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// listed is names in order, for messages.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(names))
	return strings.Join(sorted, ", ")
}
