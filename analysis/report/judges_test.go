package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"hangbench/analysis"
	"hangbench/analysis/compare"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/export"
	"hangbench/analysis/table"
	"hangbench/results"
)

// judgeAll writes everything that can be shown of a run, and gives each file to a judge of
// its format: a program that reads it must find nothing in it but what we wrote there, and
// text.
func judgeAll(t *testing.T, run *results.Run) {
	t.Helper()
	for _, err := range slices.Concat(run.Bad, run.Notes) {
		judgeTerminal(t, "an error", []byte(err.Error()))
	}
	var page bytes.Buffer
	if len(run.Trials) == 0 {
		if err := Render(&page, run, nil); err != nil {
			t.Fatal(err)
		}
		judgePage(t, page.Bytes())
		return
	}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := Render(&page, run, set); err != nil {
		t.Fatal(err)
	}
	judgePage(t, page.Bytes())
	tables, err := exhibit.Make(set, exhibit.Tables(), true)
	if err != nil {
		t.Fatal(err)
	}
	caption := set.Caption()
	if r, err := compare.Runs([]*results.Run{run}, []*results.Run{run}, compare.Options{}); err != nil {
		judgeTerminal(t, "comparison", []byte(err.Error()))
	} else {
		tables = append(tables, r.Table(true))
		judgeTerminal(t, "comparison", []byte(r.Caption+"\n"+r.Answer()))
	}
	for f, judge := range map[table.Format]func(*testing.T, string, []byte){
		table.Terminal: judgeTerminal, table.Markdown: judgeMarkdown, table.LaTeX: judgeLaTeX,
	} {
		var b bytes.Buffer
		if err := table.WriteAll(&b, caption, tables, f); err != nil {
			t.Fatal(err)
		}
		judge(t, "tables", b.Bytes())
	}
	for _, tab := range tables {
		var b bytes.Buffer
		if err := tab.Write(&b, table.CSV); err != nil {
			t.Fatal(err)
		}
		judgeCSV(t, tab.Title, b.Bytes())
	}
	var cells, lines bytes.Buffer
	if err := table.Summary(&cells, set, table.CSV); err != nil {
		t.Fatal(err)
	}
	judgeCSV(t, "summary", cells.Bytes())
	if err := export.Write(&lines, run); err == nil {
		judgeTerminal(t, "export", bytes.ReplaceAll(lines.Bytes(), []byte("\t"), []byte(" ")))
	}
	figures, err := exhibit.Draw(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		var svg, values bytes.Buffer
		if err := errors.Join(f.WriteSVG(&svg), f.WriteCSV(&values)); err != nil {
			t.Fatal(err)
		}
		judgeXML(t, f.Name, svg.Bytes(), true, drawn)
		judgeCSV(t, f.Name, values.Bytes())
		judgeTerminal(t, f.Name, []byte(f.Caption()))
	}
}

// judgeTerminal is a terminal that accepts printable characters and line feeds only: with
// anything else a text could move the cursor, change the title or imitate another line.
func judgeTerminal(t *testing.T, what string, b []byte) {
	t.Helper()
	if !utf8.Valid(b) {
		t.Fatalf("%s: not UTF-8: %q", what, b)
	}
	for _, r := range string(b) {
		if !unicode.IsGraphic(r) && r != '\n' {
			t.Fatalf("%s: a terminal acts on %U in %q", what, r, b)
		}
	}
}

// judgeMarkdown finds headings, tables and paragraphs of text only.
func judgeMarkdown(t *testing.T, what string, b []byte) {
	t.Helper()
	judgeTerminal(t, what, b)
	md := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough))
	may := []string{"Document", "Heading", "Paragraph", "Text", "Table", "TableHeader", "TableRow", "TableCell"}
	err := ast.Walk(md.Parser().Parse(text.NewReader(b)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !slices.Contains(may, n.Kind().String()) {
			t.Fatalf("%s: %s in\n%s", what, n.Kind(), b)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judgeCSV reads the file and finds no formula.
func judgeCSV(t *testing.T, what string, b []byte) {
	t.Helper()
	judgeTerminal(t, what, b)
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, b)
	}
	for _, c := range slices.Concat(rows...) {
		if c == "" || !strings.ContainsRune("=+-@", rune(c[0])) {
			continue
		}
		if _, err := strconv.ParseFloat(c, 64); err != nil {
			t.Fatalf("%s: a spreadsheet evaluates %q", what, c)
		}
	}
}

var (
	comment = regexp.MustCompile(`(?m)^%.*\n`)
	command = regexp.MustCompile(`\\([a-zA-Z]+|.)`)
	// commands are those of our tables, and those for signs in a text.
	commands = strings.Fields(`begin end centering footnotesize caption resizebox ifdim width linewidth else fi toprule
		midrule bottomrule addlinespace scriptsize multicolumn textbackslash textasciitilde textasciicircum textless
		textgreater { } $ & # _ % \`)
)

// judgeLaTeX finds no command but ours, no other way of writing one, and balanced groups.
func judgeLaTeX(t *testing.T, what string, b []byte) {
	t.Helper()
	judgeTerminal(t, what, b)
	ours := strings.NewReplacer("{!}{%\n", "{!}{", `$-$`, "", `$\geq$`, "", `$\leq$`, "", `$\infty$`, "")
	source := ours.Replace(comment.ReplaceAllString(string(b), ""))
	for _, m := range command.FindAllStringSubmatch(source, -1) {
		if !slices.Contains(commands, m[1]) {
			t.Fatalf("%s: LaTeX runs %q in\n%s", what, m[0], b)
		}
	}
	plain := command.ReplaceAllString(source, "")
	if i := strings.IndexAny(plain, "^_#~%$"); i >= 0 {
		t.Fatalf("%s: LaTeX acts on %q in\n%s", what, plain[i:i+1], b)
	}
	if strings.Count(plain, "{") != strings.Count(plain, "}") {
		t.Fatalf("%s: LaTeX sees other groups in\n%s", what, b)
	}
}

// Names that may occur in a drawing and in the page.
var (
	drawn = map[string]string{
		"svg": "xmlns xlink width height viewBox version role aria-label class preserveAspectRatio", "g": "transform",
		"path": "d style stroke stroke-width stroke-dasharray", "text": "x y transform style textLength lengthAdjust",
		"title": "", "desc": "",
	}
	written = map[string]string{
		"html": "lang", "head": "", "meta": "charset name content", "style": "", "body": "", "h1": "", "h2": "", "h3": "",
		"p": "class", "nav": "", "a": "href", "div": "class", "section": "id", "ul": "class", "li": "",
		"details": "class open", "summary": "", "table": "", "thead": "", "tbody": "", "tr": "class id",
		"th": "scope class", "td": "class colspan", "dl": "", "dt": "", "dd": "", "pre": "",
	}
)

// judgePage reads the page as a browser does.
func judgePage(t *testing.T, b []byte) {
	t.Helper()
	all := make(map[string]string)
	for _, names := range []map[string]string{drawn, written} {
		for element, attributes := range names {
			all[element] += " " + attributes
		}
	}
	judgeXML(t, "page", b, false, all)
}

// judgeXML finds only those elements with those attributes, links within the file, and
// printable text.
func judgeXML(t *testing.T, what string, b []byte, strict bool, elements map[string]string) {
	t.Helper()
	judgeTerminal(t, what, bytes.ReplaceAll(b, []byte("\t"), nil))
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = strict
	if !strict {
		d.AutoClose, d.Entity = []string{"meta"}, xml.HTMLEntity
	}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, b)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			attributes, ok := elements[e.Name.Local]
			if !ok {
				t.Fatalf("%s: an element %s", what, e.Name.Local)
			}
			for _, a := range e.Attr {
				if !slices.Contains(strings.Fields(attributes), a.Name.Local) {
					t.Fatalf("%s: an attribute %s of %s", what, a.Name.Local, e.Name.Local)
				}
				if a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
					t.Fatalf("%s: a link to %s", what, a.Value)
				}
				judgeTerminal(t, what, []byte(a.Value))
			}
		case xml.CharData:
			judgeTerminal(t, what, bytes.ReplaceAll(e, []byte("\t"), nil))
		}
	}
}
