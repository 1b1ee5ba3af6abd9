package table

import (
	"fmt"
	"io"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// noData stands in place of a table without rows.
const noData = "no data"

// Format is how a table is written.
type Format int

// The formats of a table.
const (
	Terminal Format = iota
	Markdown
	CSV
	LaTeX
)

// ParseFormat reads the name of a format as a flag has it.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text":
		return Terminal, nil
	case "md":
		return Markdown, nil
	case "csv":
		return CSV, nil
	case "latex":
		return LaTeX, nil
	}
	return 0, fmt.Errorf("format %q is unknown: give one of text, md, csv, latex", name)
}

// Write writes the table in the format, with its title and notes. As CSV it writes the
// values alone.
func (t *Table) Write(w io.Writer, f Format) error {
	if err := t.check(); err != nil {
		return err
	}
	switch f {
	case CSV:
		return t.WriteCSV(w)
	case LaTeX:
		if err := t.writeLaTeX(w); err != nil {
			return fmt.Errorf("table %q: %w", t.Title, err)
		}
		return nil
	}
	title, note := t.Title+"\n", "  %s\n"
	if f == Markdown {
		title, note = "### "+markdown(t.Title)+"\n\n", "%s\n"
	}
	if _, err := io.WriteString(w, title); err != nil {
		return err
	}
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintf(w, note, noData)
		return err
	}
	if err := t.render(w, f); err != nil {
		return fmt.Errorf("table %q: %w", t.Title, err)
	}
	if f == Markdown {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	for i, n := range t.Notes {
		if f == Markdown {
			n = markdownLine(n)
			if i < len(t.Notes)-1 {
				n += "  " // a line break in Markdown
			}
		}
		if _, err := fmt.Fprintf(w, note, n); err != nil {
			return err
		}
	}
	return nil
}

// check finds rows of another length than the head. The renderer accepts them silently.
func (t *Table) check() error {
	if len(t.Numeric) != len(t.Head) {
		return fmt.Errorf("table %q: %d alignments for %d columns", t.Title, len(t.Numeric), len(t.Head))
	}
	for i, row := range t.Rows {
		if len(row) != len(t.Head) {
			return fmt.Errorf("table %q: row %d has %d cells, the head has %d", t.Title, i, len(row), len(t.Head))
		}
	}
	return nil
}

func (t *Table) render(w io.Writer, f Format) error {
	numeric := t.Numeric
	folded := f == Terminal && !t.Flat
	if folded {
		numeric = numeric[1:] // fold makes one column of the first two
	}
	align := make([]tw.Align, len(numeric))
	for i, right := range numeric {
		align[i] = tw.AlignLeft
		if right {
			align[i] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off}, // AutoFormat makes "ALTP 2 M" of altp2m
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft, PerColumn: align},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: " ", Right: " ", Overwrite: true}},
	}
	var r tw.Renderer = renderer.NewBlueprint(tw.Rendition{
		Borders: tw.Border{Left: tw.Off, Right: tw.Off, Top: tw.On, Bottom: tw.On},
		Symbols: tw.NewSymbols(tw.StyleLight),
		Settings: tw.Settings{
			Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off},
		},
	})
	if f == Markdown {
		r = renderer.NewMarkdown()
	}
	table := tablewriter.NewTable(w,
		tablewriter.WithConfig(tablewriter.Config{
			Header: cells, Row: cells,
			Behavior: tw.Behavior{TrimSpace: tw.Off}, // the indentation of fold
		}),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithRenderer(r),
	)
	head, rows := t.Head, t.Rows
	if folded {
		head, rows = fold(head, rows)
	}
	table.Header(cellsOf(head, f)...)
	for _, row := range rows {
		if err := table.Append(cellsOf(row, f)...); err != nil {
			return err
		}
	}
	return table.Render()
}

// fold makes one column of scenario and mechanism, so that lines are short: each scenario
// has a row of its own, and its mechanisms are indented below it.
func fold(head []string, rows [][]string) ([]string, [][]string) {
	var out [][]string
	last := ""
	for _, row := range rows {
		if row[0] != last {
			last = row[0]
			title := make([]string, len(head)-1)
			title[0] = last
			out = append(out, title)
		}
		out = append(out, append([]string{"  " + row[1]}, row[2:]...))
	}
	return append([]string{head[0]}, head[2:]...), out
}

// cellsOf returns cells as the renderer takes them, escaped for Markdown.
func cellsOf(cells []string, f Format) []any {
	out := make([]any, len(cells))
	for i, c := range cells {
		if f == Markdown {
			c = markdown(c)
		}
		out[i] = c
	}
	return out
}
