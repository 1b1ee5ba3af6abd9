package suites

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a suite. The file name is used in messages only. The error joins one
// sentence for every mistake found, in the order of the lines, up to mostProblems.
//
// Parse walks the YAML node by node. Decoding into a struct would lose the line of each
// value, which every message names.
func Parse(file string, data []byte, v Vocabulary) (*Suite, error) {
	p := &parser{file: file, data: data, v: v}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:1: the file is empty: a suite needs at least %s", file, required())
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
		return nil, p.errors()
	}
	return s, nil
}

type parser struct {
	file     string
	data     []byte
	v        Vocabulary
	problems []problem
	// mistaken are the names of faults with a mistake, which is told. A scenario of such a
	// name is no other mistake.
	mistaken []string
}

// problem is a mistake in a suite. Its text is empty if there were mostProblems before.
type problem struct {
	line int
	text string
}

// mostProblems is how many mistakes of a file are told one by one.
const mostProblems = 20

// errorf notes a mistake. Arguments that are fmt.Stringers are asked only if it is told.
func (p *parser) errorf(n *yaml.Node, format string, args ...any) {
	found := problem{line: max(n.Line, 1)}
	if len(p.problems) < mostProblems {
		found.text = fmt.Sprintf(format, args...)
	}
	p.problems = append(p.problems, found)
}

// errors joins one sentence for every mistake, in the order of the lines, and counts
// those after the first mostProblems.
func (p *parser) errors() error {
	told := p.problems[:min(len(p.problems), mostProblems)]
	sort.SliceStable(told, func(i, j int) bool { return told[i].line < told[j].line })
	var errs []error
	for _, pr := range told {
		errs = append(errs, fmt.Errorf("%s:%d: %s", p.file, pr.line, pr.text))
	}
	if more := len(p.problems) - len(told); more > 0 {
		errs = append(errs, fmt.Errorf("%s: %d more mistakes are not told", p.file, more))
	}
	return errors.Join(errs...)
}

// required lists the keys that a suite must have.
func required() string {
	var names []string
	for _, k := range keysOf(Whole) {
		if k.Required {
			names = append(names, k.Name)
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
