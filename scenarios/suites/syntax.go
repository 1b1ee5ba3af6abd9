package suites

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"hangbench/results/printable"
)

var (
	// syntaxLine is an error of the YAML library that has a line.
	syntaxLine = regexp.MustCompile(`^line (\d+): (.*)$`)
	// grammar are the errors whose line the library counts from 0, and leaves out if it
	// is 0: those of its parser. Its scanner counts from 1.
	grammar = regexp.MustCompile("^did not find expected (<|key|'-' indicator|',' or |node content)")
	// unknownAnchor is an error that has no line.
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax turns an error of the YAML library, such as "yaml: line 3: ...", into file:line
// form. Where the library gives no line, or names a tab no tab, syntax looks for it.
func (p *parser) syntax(err error) error {
	line, text := 0, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1]) // too many digits for the lines of a file are 0
		text = m[2]
	}
	anchor := unknownAnchor.FindStringSubmatch(text)
	switch {
	case grammar.MatchString(text):
		line++
	case strings.Contains(text, "cannot start any token") || strings.Contains(text, "tab character"):
		if at := p.tab(line); at > 0 {
			line, text = at, "the line begins with a tab: indent with blanks"
		}
	case anchor != nil:
		line = p.lineOf(bytes.Index(p.data, []byte("*"+anchor[1])))
	case strings.Contains(text, "UTF-8"):
		at := notUTF8(p.data)
		line, text = p.lineOf(at), "it is not UTF-8 text: save the file as UTF-8"
	case strings.Contains(text, "control characters"):
		control := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }
		at := bytes.IndexFunc(p.data, control)
		if at >= 0 {
			r, _ := utf8.DecodeRune(p.data[at:])
			line, text = p.lineOf(at), fmt.Sprintf("it has the control character %U: remove it", r)
		}
	}
	return fmt.Errorf("%s:%d: not valid YAML: %s", p.file, max(line, 1), printable.Line(text))
}

// lineOf is the line of a place in the file, from 1.
func (p *parser) lineOf(at int) int {
	return 1 + bytes.Count(p.data[:max(at, 0)], []byte("\n"))
}

// notUTF8 is the place of the first byte that is not UTF-8.
func notUTF8(data []byte) int {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return 0
}

// tab is the first line from the given one on that is indented with a tab, and 0 if there
// is none.
func (p *parser) tab(from int) int {
	line := 0
	for text := range bytes.Lines(p.data) {
		line++
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if line >= from && bytes.ContainsRune(indent, '\t') {
			return line
		}
	}
	return 0
}
