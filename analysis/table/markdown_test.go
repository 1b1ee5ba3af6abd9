package table

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, cell, line string }{
		{"", "", ""},
		{"exec-step T_D 1.5 [1, 2] (3)", "exec-step T_D 1.5 [1, 2] (3)", "exec-step T_D 1.5 [1, 2] (3)"},
		{"_a_ a_b_", `\_a\_ a_b\_`, `\_a\_ a_b\_`},
		{"a|b*c`d$e~f\\g<h&i\nj", "a\\|b\\*c\\`d\\$e\\~f\\\\g&lt;h&amp;i j", "a\\|b\\*c\\`d\\$e\\~f\\\\g&lt;h&amp;i j"},
		{"![a](javascript:b) [c][d]", `![a]\(javascript:b) [c]\[d]`, `![a]\(javascript:b) [c]\[d]`},
		{"> t", "> t", `\> t`},
		{"# t #1", `\# t \#1`, `\# t \#1`},
		{"- t", "- t", `\- t`},
		{"[a]: b", "[a]: b", `\[a]: b`},
		{"12. t", "12. t", `12\. t`},
		{"12) t", "12) t", `12\) t`},
		{"12 t", "12 t", "12 t"},
		{"12", "12", "12"},
	} {
		if got := markdown(tc.in); got != tc.cell {
			t.Errorf("cell %q: %q, want %q", tc.in, got, tc.cell)
		}
		if got := markdownLine(tc.in); got != tc.line {
			t.Errorf("line %q: %q, want %q", tc.in, got, tc.line)
		}
	}
}

// words returns the words of a text without white space, as a reader of Markdown sees them.
func words(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == 0 }), " ")
}

// FuzzMarkdown: a parser of Markdown finds a heading, a table of two columns and a
// paragraph in what is written, and in each of them the text that was given and nothing
// else: no emphasis, code, link, image or HTML.
func FuzzMarkdown(f *testing.F) {
	f.Add("spinlock-deadlock", "T_D: 1.5 ms", "exec_step")
	f.Add("[a](javascript:alert(1))", "`code` *em* _em_ $x$ ~~s~~ <b>", "![i](http://e.example/x)")
	f.Add("a\nb", "# head\n- list", "1. list | cell")
	f.Add("&lt; &#x1b;", "[x]: http://e.example", "===")
	f.Add("---", "```", "\\")
	f.Add("<http://e.example>", "a\\", "b\\|c")
	md := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough))
	f.Fuzz(func(t *testing.T, title, note, cell string) {
		for _, s := range []string{title, note, cell} {
			// Names are printable before they get here; white space at an end is lost.
			hostile := func(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' || r == unicode.ReplacementChar }
			if strings.ContainsFunc(s, hostile) || words(s) == "" {
				return
			}
		}
		tab := New(title, TextColumn(cell, "a"), TextColumn("b", "b"))
		tab.Flat = true
		tab.Add(Text(cell), Text("x"))
		tab.Notes = []string{note}
		var b bytes.Buffer
		if err := tab.Write(&b, Markdown); err != nil {
			t.Fatal(err)
		}
		source := b.Bytes()
		doc := md.Parser().Parse(text.NewReader(source))
		var got []string
		err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if !entering {
				return ast.WalkContinue, nil
			}
			switch n := n.(type) {
			case *ast.Document, *ast.Paragraph, *east.Table, *east.TableHeader, *east.TableRow:
				if n.Kind() == ast.KindParagraph {
					got = append(got, "")
				}
			case *ast.Heading, *east.TableCell:
				got = append(got, "")
			case *ast.Text:
				value := n.Segment.Value(source)
				got[len(got)-1] += string(value)
				if n.SoftLineBreak() {
					got[len(got)-1] += " "
				}
			default:
				t.Fatalf("%s in\n%s", n.Kind(), source)
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{markdown(title), markdown(cell), "b", markdown(cell), "x", markdownLine(note)}
		for i := range got {
			got[i] = words(got[i])
		}
		for i := range want {
			want[i] = words(want[i])
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%q\nwant %q\nin\n%s", got, want, source)
		}
	})
}
