package suites

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"

	"hangbench/results/printable"
)

// Parse reads a suite. The file name is used in messages only. The error joins one
// sentence for every problem found, in the order of the lines.
//
// Parse walks the YAML node by node. Decoding into a struct would lose the line of each
// value, which every message names.
func Parse(file string, data []byte, v Vocabulary) (*Suite, error) {
	p := &parser{file: file, v: v}
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
		return fmt.Errorf("%s:%s: not valid YAML: %s", p.file, m[1], printable.Line(m[2]))
	}
	return fmt.Errorf("%s: not valid YAML: %s", p.file,
		printable.Line(strings.TrimPrefix(err.Error(), "yaml: ")))
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
