package table

import (
	"fmt"
	"io"
	"strings"
)

// writeLaTeX writes the table as a LaTeX table with its notes below. It uses the rules of
// the package booktabs. A table that is wider than the line is shrunk to the line's
// width, by the package graphicx.
func (t *Table) writeLaTeX(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\\begin{table}\n\\centering\n\\footnotesize\n")
	fmt.Fprintf(&b,
		"\\caption{%s}\n\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%%\n\\begin{tabular}{",
		latex(t.Title))
	for _, right := range t.Numeric {
		if right {
			b.WriteByte('r')
		} else {
			b.WriteByte('l')
		}
	}
	b.WriteString("}\n\\toprule\n")
	line := func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				b.WriteString(" & ")
			}
			b.WriteString(latex(c))
		}
		b.WriteString(" \\\\\n")
	}
	line(t.Head)
	b.WriteString("\\midrule\n")
	last := ""
	for i, row := range t.Rows {
		cells := row
		if !t.Flat && row[0] == last {
			cells = append([]string{""}, row[1:]...) // the scenario is named once
		} else if !t.Flat && i > 0 {
			b.WriteString("\\addlinespace\n")
		}
		last = row[0]
		line(cells)
	}
	if len(t.Rows) == 0 {
		fmt.Fprintf(&b, "\\multicolumn{%d}{l}{%s} \\\\\n", len(t.Head), noData)
	}
	b.WriteString("\\bottomrule\n\\end{tabular}}\n")
	if len(t.Notes) > 0 {
		b.WriteString("\n\\begin{minipage}{\\linewidth}\\scriptsize\n")
		for _, n := range t.Notes {
			fmt.Fprintf(&b, "%s\\\\\n", latex(n))
		}
		b.WriteString("\\end{minipage}\n")
	}
	b.WriteString("\\end{table}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// latex escapes what is not text to LaTeX.
func latex(s string) string {
	return strings.NewReplacer(
		`\`, `\textbackslash{}`, `{`, `\{`, `}`, `\}`, `$`, `\$`, `&`, `\&`, `#`, `\#`, `_`, `\_`, `%`, `\%`,
		`~`, `\textasciitilde{}`, `^`, `\textasciicircum{}`, `<`, `\textless{}`, `>`, `\textgreater{}`,
		`[`, `{[}`, `]`, `{]}`, // after a line break they would be its argument
		"–", "--", "−", "$-$", "≥", `$\geq$`, "≤", `$\leq$`, "∞", `$\infty$`, "\n", " ",
	).Replace(s)
}
